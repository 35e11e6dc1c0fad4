"""The scheduler: publishes delayed events in bulk, due in seconds or after the last fault.

They are results of attempts that are never requested, so they change no item. Each must be applied once, and not before
it is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from app.chaos.actors import Actor, until_known
from app.chaos.item_results import SOME_ITEMS, Item, failure
from app.chaos.model import Model
from app.chaos.observer import DELAYED
from app.chaos.part import Work
from app.chaos.stage import Stage
from app.context import HandlerContext
from app.engine.batches.statements import statement
from app.engine.delivery.aside import database_now
from app.engine.queue.publish import publish
from events import Event

_BULK = (20, 80)
"""Events of each delay in one action."""
_DELAYS_S = ((0.2, 2.0), (2.0, 6.0), (8.0, 15.0))
"""Ranges of delays in seconds, one delay of each in an action. Those of the last are often due after the last fault."""
_SHARE_OF_THE_LAST = 0.1
_PARCELS = (1, None, None, None)
"""Events in a row; None: as many as fit. Rows of one event are rare: after a crash each is delivered alone."""
_NEVER_ASKED = 1000
"""An attempt that no item of a run reaches."""

_Bulk = tuple[float, Sequence[Event[Any]]]
"""Events and their delay in seconds."""


class Scheduler(Actor):
    """Publishes about a hundred delayed events at once, singly or in batches."""

    pause = 4.0

    def __init__(self, stage: Stage, model: Model, seed: str, *, work: Work) -> None:
        super().__init__(stage, model, seed)
        self._work = work

    def act(self) -> None:
        """Publish one bulk for each range of delays, in one transaction."""
        with self.stage.connect() as connection:
            items = connection.execute(statement(self._work.batch, SOME_ITEMS)).fetchall()
            now = HandlerContext.begin(connection).now
        if not items:
            return
        bulks = [(delay, self._results(items, now, size)) for delay, size in self._sizes()]
        batch_size = self.dice.choice(_PARCELS)
        until_known(lambda: self._publish(bulks, batch_size))
        self.model.deliver([event.id for _, some in bulks for event in some], "delayed")
        self.model.count("published delayed events in bulk")

    def _sizes(self) -> list[tuple[float, int]]:
        sizes = [self.dice.randint(*_BULK) for _ in _DELAYS_S]
        sizes[-1] = max(1, int(sizes[-1] * _SHARE_OF_THE_LAST))
        return [(round(self.dice.uniform(*span), 3), size) for span, size in zip(_DELAYS_S, sizes, strict=True)]

    def _results(self, items: Sequence[Item], now: datetime, size: int) -> list[Event[Any]]:
        return [failure(self._work, self.dice.choice(items), _NEVER_ASKED, DELAYED, now) for _ in range(size)]

    def _publish(self, bulks: Sequence[_Bulk], batch_size: int | None) -> None:
        with self.stage.connect() as connection:
            for delay, some in bulks:
                # Noted before publication: another actor may read the events right after the commit.
                self.model.delay([event.id for event in some], database_now(connection) + timedelta(seconds=delay))
                publish(connection, *some, delay=delay, batch_size=batch_size)
