"""The auditor: checks the program's invariants every 2 seconds while the database is reachable."""

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
    """A thread that checks the invariants. `violations`: its findings, `audits`: the number of checks."""

    def __init__(self, stage: Stage, began: float) -> None:
        super().__init__(name="auditor", daemon=True)
        self.violations: list[Violation] = []
        self.audits = 0
        self._stage = stage
        self._began = began
        self._over = threading.Event()

    def run(self) -> None:
        """Check until `finish`."""
        while not self._over.wait(_EVERY_S):
            # During an outage, skip this check. The last check of the run finds remaining violations.
            with suppress(psycopg.Error), self._stage.overlook() as connection:
                found = laws.invariants(connection)
                at = time.monotonic() - self._began
                self.violations += [Violation(one.law, f"after {at:.1f} s: {one.detail}") for one in found]
                self.audits += 1

    def finish(self) -> None:
        """Stop, and wait for the last check to end."""
        self._over.set()
        self.join()
