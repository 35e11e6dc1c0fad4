"""Faults: what happens to a process at a chosen point of what it does.

A dead process is one of whose connections the kernel has closed every one and of whose code nothing runs on. Here its
code does run on, in the same interpreter, so every connection of it refuses whatever it still tries: the database
sees what it sees after a `kill -9`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from threading import Lock
from typing import Protocol


class Died(BaseException):
    """The process is dead. Not an `Exception`: no code under test may catch it and live on."""


class Fault(Enum):
    """What happens at a point: a statement, or a step of a call to the outside."""

    DIES_BEFORE = "the process dies before"
    DIES_AFTER = "the process dies right after"
    DROPS = "the connection drops before"
    ANSWER_LOST = "the answer is lost of"

    def strikes(self, point: Point) -> bool:
        """Whether the fault makes a difference there: what is rolled back anyway may as well not have happened."""
        return point.is_final or self in {Fault.DIES_BEFORE, Fault.DROPS}


@dataclass(frozen=True, slots=True)
class Point:
    """Something that a process does to the world around it; `is_final` if it cannot be rolled back any more."""

    text: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault, and at which of the points where it can strike it does, counted from 0."""

    fault: Fault
    at: int


class Wire(Protocol):
    """What leads from a process to the world around it."""

    def cut(self) -> None:
        """Break before something is said; the error comes now or when it is."""

    def lose_answer(self) -> None:
        """Break after something was done; raises the error."""


class Watch:
    """Everything that one process does, in order, and the fault that it meets.

    Its deliveries run on several threads, so points are noted under a lock.
    """

    def __init__(self, strike: Strike | None = None) -> None:
        self.strike = strike
        self.points: list[Point] = []
        self.struck: int | None = None
        """At which of `points` the fault struck, from 0; None as long as it did not."""
        self.is_dead = False
        self.lines: list[Wire] = []
        """Its connections to the database."""
        self._left = strike.at if strike else 0
        self._lock = Lock()

    @contextmanager
    def passing(self, point: Point, wire: Wire) -> Iterator[None]:
        """The block does what `point` says, over `wire`."""
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
        """Close every connection; raises `Died`, and so does everything from now on."""
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
