"""A running marketplace in the same process, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from app.simulators.marketplace.application import create_marketplace
from app.simulators.marketplace.behaviour import Behaviour
from app.simulators.marketplace.catalogue import Catalogue
from app.simulators.marketplace.desk import Desk
from app.simulators.marketplace.ledger import Ledger
from app.simulators.serving import Server, in_thread


class Marketplace:
    """A running marketplace in the same process. `url` may be followed by a marketplace's name: `{url}/amazon.de`."""

    def __init__(self, url: str, server: Server) -> None:
        self.url = url
        self._server = server

    @property
    def _desk(self) -> Desk:
        return cast("Desk", self._server.app.state.desk)

    @property
    def ledger(self) -> Ledger:
        """Return the ledger: what was charged."""
        return self._desk.ledger

    @property
    def catalogue(self) -> Catalogue:
        """Return what there is to buy, with what its texts mean."""
        return self._desk.catalogue

    @property
    def behaviour(self) -> Behaviour:
        """The settings. A new value applies from the next call on."""
        return self._desk.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._desk.behaviour = behaviour

    def change(self, **changes: Any) -> None:
        """Change some settings. Raises pydantic's `ValidationError` for an invalid setting."""
        self.behaviour = self.behaviour.changed(**changes)

    def start_over(self, behaviour: Behaviour | None = None) -> None:
        """Clear the ledger, for tests that share a marketplace."""
        self._server.replace(Desk(behaviour or Behaviour(), self._desk.clock))


@contextmanager
def serve(behaviour: Behaviour | None = None, *, clock: Callable[[], float] = time.time) -> Iterator[Marketplace]:
    """Run a marketplace in a separate thread during the block.

    `clock` returns the marketplace's time in seconds since 1970. Raises `RuntimeError` if it does not start.
    """
    with in_thread(create_marketplace(behaviour or Behaviour(), clock=clock), "marketplace") as (url, server):
        yield Marketplace(url, server)
