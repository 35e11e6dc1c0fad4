"""Actors: threads that repeat an action until they are stopped, and tolerate database outages."""

from __future__ import annotations

import random
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import psycopg

from app.chaos.model import Model
from app.chaos.stage import Stage
from app.engine.delivery.retry import spends_nothing
from app.errors import TallymanError

T = TypeVar("T")
_AWAY_S = 0.2
"""Seconds before the next attempt at an unreachable server."""


class GaveUp(TallymanError):
    """The database did not return within an actor's time limit."""


class Actor(threading.Thread, ABC):
    """A thread that calls `act` repeatedly, with a mean pause of `pause` seconds.

    A lost connection ends the call of `act`, and the next one follows. Any other exception is a violation.
    """

    pause = 0.3

    def __init__(self, stage: Stage, model: Model, seed: str) -> None:
        super().__init__(name=type(self).__name__.lower(), daemon=True)
        self.stage = stage
        self.model = model
        self.dice = random.Random(seed)
        self.over = threading.Event()

    @abstractmethod
    def act(self) -> None:
        """Do one action. May raise psycopg's errors during an outage."""

    def run(self) -> None:
        """Call `act` until `finish`."""
        while not self.over.wait(self.dice.expovariate(1 / self.pause)):
            try:
                self.act()
            except psycopg.Error as error:
                if not spends_nothing(error):
                    self._complain(error)
            except Exception as error:  # noqa: BLE001 - any error is a violation and does not end the run
                self._complain(error)

    def finish(self, limit: float) -> None:
        """Stop the thread and wait for its last action. Raises `GaveUp` after `limit` seconds."""
        self.over.set()
        self.join(limit)
        if self.is_alive():
            raise GaveUp(f"the {self.name} is still at its last turn after {limit:.0f} s")

    def _complain(self, error: Exception) -> None:
        where = "".join(traceback.format_exception(error)[-2:])
        self.model.complain(f"the {self.name} meets no error but an outage", where)


def until_known(attempt: Callable[[], T], limit: float = 90.0) -> T:
    """Repeat `attempt` until it returns without an outage. Returns its value. Raises `GaveUp` after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        try:
            return attempt()
        except psycopg.Error as error:
            if not spends_nothing(error):
                raise
            if time.monotonic() > end:
                raise GaveUp(f"not known after {limit:.0f} s: {error}") from error
            time.sleep(_AWAY_S)
