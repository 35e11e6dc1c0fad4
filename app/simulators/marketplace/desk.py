"""One marketplace's state, and who may come in."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import cast

from fastapi import HTTPException, Request

from app.simulators import serving
from app.simulators.marketplace.behaviour import Behaviour, Director
from app.simulators.marketplace.catalogue import Catalogue
from app.simulators.marketplace.ledger import Ledger
from app.simulators.marketplace.spellings import MARKETS


class Desk(serving.Desk[Behaviour]):
    """One marketplace's state."""

    def __init__(self, behaviour: Behaviour, clock: Callable[[], float]) -> None:
        super().__init__(behaviour, clock)
        self.ledger = Ledger()
        self.director = Director()
        self.catalogue = Catalogue(behaviour)

    def adapt(self) -> None:
        """Offer what the new settings name."""
        if not self.catalogue.serves(self.behaviour):
            self.catalogue = Catalogue(self.behaviour)

    def customer(self, request: Request) -> tuple[str, str]:
        """Return the account and the marketplace of a call. Raises 401, 404 and 503."""
        if self.behaviour.is_down:
            raise HTTPException(503, "the marketplace is down for maintenance", self.retry_after())
        account = self.behaviour.api_keys.get(request.headers.get("X-API-Key", ""))
        if account is None:
            self.ledger.wrong_keys += 1
            raise HTTPException(401, "the API key is unknown")
        marketplace = request.path_params.get("marketplace", self.behaviour.marketplace)
        if marketplace not in MARKETS:
            raise HTTPException(404, "no such marketplace")
        return account, marketplace

    def retry_after(self) -> dict[str, str] | None:
        """Return the header of an answer that asks to come back later."""
        seconds = self.behaviour.retry_after_s
        if seconds is None:
            return None
        is_date = self.behaviour.retry_after_as == "date"
        return {"Retry-After": formatdate(self.clock() + seconds, usegmt=True) if is_date else str(seconds)}


def desk_of(request: Request) -> Desk:
    """Return the state of the marketplace that a request came to."""
    return cast("Desk", request.app.state.desk)
