"""A running marketplace in the same process, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.simulators.marketplace.application import create_marketplace
from app.simulators.marketplace.behaviour import Behaviour
from app.simulators.marketplace.catalogue import Catalogue
from app.simulators.marketplace.desk import Desk
from app.simulators.marketplace.ledger import Ledger
from app.simulators.running import Running
from app.simulators.serving import in_thread


class Marketplace(Running[Behaviour, Desk]):
    """A running marketplace in the same process. `url` may be followed by a marketplace's name: `{url}/amazon.de`."""

    @property
    def ledger(self) -> Ledger:
        """Return the ledger: what was charged."""
        return self.desk.ledger

    @property
    def catalogue(self) -> Catalogue:
        """Return what there is to buy, with what its texts mean."""
        return self.desk.catalogue


@contextmanager
def serve(behaviour: Behaviour | None = None, *, clock: Callable[[], float] = time.time) -> Iterator[Marketplace]:
    """Run a marketplace in a separate thread during the block.

    `clock` returns the marketplace's time in seconds since 1970. Raises `RuntimeError` if it does not start.
    """
    with in_thread(create_marketplace(behaviour or Behaviour(), clock=clock), "marketplace") as (url, server):
        yield Marketplace(url, server)
