"""The auditor: looks the program's invariants up every few seconds, whenever the database is there."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import psycopg

from app.chaos import laws
from app.chaos.report import Violation
from app.chaos.stage import Stage

_EVERY_S = 2.0


class Auditor(threading.Thread):
    """What it found, and how often it could look."""

    def __init__(self, stage: Stage, began: float) -> None:
        super().__init__(name="auditor", daemon=True)
        self.violations: list[Violation] = []
        self.audits = 0
        self._stage = stage
        self._began = began
        self._over = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(_EVERY_S):
            # Not there: the next look comes. What an outage hides, the last look of the run sees.
            with suppress(psycopg.Error), self._stage.overlook() as connection:
                found = laws.invariants(connection)
                at = time.monotonic() - self._began
                self.violations += [Violation(one.law, f"after {at:.1f} s: {one.detail}") for one in found]
                self.audits += 1

    def finish(self) -> None:
        """Stop, and wait until the last look is over."""
        self._over.set()
        self.join()
