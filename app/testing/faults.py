"""Faults of a process at a chosen point of its work.

After a real crash the kernel closes all connections of the process, and none of its code runs. Here the code keeps
running in the same interpreter, so each of its connections refuses further use. The database sees the same as after
a `kill -9`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from threading import Lock
from typing import Protocol


class Died(BaseException):
    """The process is dead. Not an `Exception`, so that code under test does not catch it and continue."""


class Fault(Enum):
    """A fault at a point: at a statement, or at a step of an outside call."""

    DIES_BEFORE = "the process dies before"
    DIES_AFTER = "the process dies right after"
    DROPS = "the connection drops before"
    ANSWER_LOST = "the answer is lost of"

    def strikes(self, point: Point) -> bool:
        """Return whether the fault matters there. After a step that is rolled back anyway, it does not."""
        return point.is_final or self in {Fault.DIES_BEFORE, Fault.DROPS}


@dataclass(frozen=True, slots=True)
class Point:
    """A statement or a step of an outside call. `is_final`: it cannot be rolled back afterwards."""

    text: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault and its point: index from 0 among the points at which it can occur."""

    fault: Fault
    at: int


class Wire(Protocol):
    """A connection of a process to the database or to an outside system."""

    def cut(self) -> None:
        """Break the connection before the next use. Raises the error now or at the next use."""

    def lose_answer(self) -> None:
        """Break the connection after a step was done. Raises the error."""


class Watch:
    """The ordered points of one process, and the fault to inject.

    Deliveries run on several threads, so a lock guards the points.
    """

    def __init__(self, strike: Strike | None = None) -> None:
        self.strike = strike
        self.points: list[Point] = []
        self.struck: int | None = None
        """Index in `points` at which the fault occurred; None before."""
        self.is_dead = False
        self.lines: list[Wire] = []
        """Its connections to the database."""
        self._left = strike.at if strike else 0
        self._lock = Lock()

    @contextmanager
    def passing(self, point: Point, wire: Wire) -> Iterator[None]:
        """Run the block as `point` over `wire`, with the fault if it is due. Raises `Died` or the wire's error."""
        fault = self._note(point)
        if fault is Fault.DIES_BEFORE:
            self.die()
        if fault is Fault.DROPS:
            wire.cut()
        yield
        if fault is Fault.DIES_AFTER:
            self.die()
        if fault is Fault.ANSWER_LOST:
            wire.lose_answer()

    def die(self) -> None:
        """Cut every connection. Raises `Died`, as does every later use."""
        self.is_dead = True
        for line in self.lines:
            line.cut()
        raise Died

    def _note(self, point: Point) -> Fault | None:
        with self._lock:
            if self.is_dead:
                raise Died
            self.points.append(point)
            if self.strike is None or self.struck is not None or not self.strike.fault.strikes(point):
                return None
            self._left -= 1
            if self._left >= 0:
                return None
            self.struck = len(self.points) - 1
            return self.strike.fault
