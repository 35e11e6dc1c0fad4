"""Actors: threads that keep doing something until they are told to stop, whatever the database does meanwhile."""

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
"""Pause before a server that was away is tried again."""


class GaveUp(TallymanError):
    """A database did not come back within the time that an actor had."""


class Actor(threading.Thread, ABC):
    """Takes turns, with a pause of `pause` seconds on average between them.

    A turn that the database ends is over, and the next one comes. Whatever else a turn raises is a complaint: the
    program did to somebody outside what it must not.
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
        """Do one thing. May raise psycopg's errors while the database is away."""

    def run(self) -> None:
        """Take turns until told to stop."""
        while not self.over.wait(self.dice.expovariate(1 / self.pause)):
            try:
                self.act()
            except psycopg.Error as error:
                if not spends_nothing(error):
                    self._complain(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding and not the end of the run
                self._complain(error)

    def finish(self, limit: float) -> None:
        """Tell it to stop and wait for its last turn. Raises `GaveUp` after `limit` seconds."""
        self.over.set()
        self.join(limit)
        if self.is_alive():
            raise GaveUp(f"the {self.name} is still at its last turn after {limit:.0f} s")

    def _complain(self, error: Exception) -> None:
        where = "".join(traceback.format_exception(error)[-2:])
        self.model.complain(f"the {self.name} meets no error but an outage", where)


def until_known(attempt: Callable[[], T], limit: float = 90.0) -> T:
    """Repeat what the database left open until it is known how it ended. Raises `GaveUp` after `limit` seconds."""
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
