"""Fault scheduler: starts the faults of the deck one after the other, and ends each after its duration."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import psycopg

from app.chaos.actors import until_known
from app.chaos.deck import Deck
from app.chaos.fault_context import Done, FaultContext
from app.chaos.faults import server, unrelated_load, workers
from app.chaos.faults.locks import Locks
from app.chaos.model import Model
from app.chaos.part import ChaosPart, Harm
from app.chaos.report import Fault

DECK: Mapping[Harm, int] = {
    workers.kill: 4,
    workers.kill_all: 1,
    workers.freeze: 3,
    workers.freeze_all: 1,
    workers.terminate: 2,
    workers.end_session: 2,
    server.restart_fast: 1,
    server.restart_immediate: 1,
    server.power_cut: 1,
    server.crash_backend: 1,
    server.cut: 3,
    server.deafen: 1,
    unrelated_load.lock_rows: 2,
    unrelated_load.long_transaction: 1,
    unrelated_load.pause_queue: 1,
}
"""Copies of each fault in a deck, besides the domains' own."""
_OPENING: tuple[Harm, ...] = (workers.kill, server.restart_immediate, workers.freeze)
"""The first faults, so that the shortest run has them."""
_FIRST_AFTER_S = 1.0
_TICK_S = 0.1
_AGAIN_S = 0.2


def deck(seed: int, parts: Sequence[ChaosPart]) -> Deck[Harm]:
    """Return the deck of a run: the faults of workers, server and load, of the parts' jobs, and the parts' own."""
    faults = dict(DECK)
    for part in parts:
        faults |= Locks(part.work.batch).faults if part.work is not None else {}
        faults |= part.faults
    return Deck(seed, _OPENING, faults)


class FaultScheduler(threading.Thread):
    """Starts one fault after the other, ends each after its duration, and replaces ended workers.

    `opened` is set after the opening faults.
    """

    def __init__(
        self,
        fault_context: FaultContext,
        model: Model,
        deck: Deck[Harm],
        began: float,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(name="fault scheduler", daemon=True)
        self.faults: list[Fault] = []
        self.opened = threading.Event()
        self._fault_context = fault_context
        self._model = model
        self._began = began
        self._say = say
        self._over = threading.Event()
        self._deck = deck
        self._to_undo: list[tuple[float, Callable[[], None]]] = []

    def run(self) -> None:
        """Run faults until `finish`, then undo the open ones."""
        due = time.monotonic() + _FIRST_AFTER_S
        try:
            while not self._over.wait(_TICK_S):
                self._fault_context.worker_pool.fill()
                self._undo(time.monotonic())
                if time.monotonic() >= due:
                    due = time.monotonic() + self._do()
        except Exception as error:  # noqa: BLE001 - a failed scheduler must be a violation
            self._model.complain("the fault scheduler can do its work", repr(error))
        finally:
            for due, undo in sorted(self._to_undo, key=lambda one: one[0]):
                # A freeze that ends early would have no effect.
                time.sleep(max(0.0, due - time.monotonic()))
                until_known(undo)
            self._fault_context.worker_pool.fill()

    def finish(self) -> None:
        """Stop, and wait until all faults are undone."""
        self._over.set()
        self.join()

    def _do(self) -> float:
        """Play the top card. Returns seconds until the next card, or until the next attempt at the same one."""
        card = self._deck.top
        self._fault_context.dice = random.Random(card.seed)
        try:
            done = card.fault(self._fault_context)
        except psycopg.Error:
            return _AGAIN_S  # the server is not back after the previous fault
        if done is None:
            return _AGAIN_S
        self._deck.pop()
        if self._deck.is_opened:
            self.opened.set()
        self._note(card.fault.__name__, done)
        return card.pause

    def _note(self, kind: str, done: Done) -> None:
        at = time.monotonic() - self._began
        self.faults.append(Fault(round(at, 2), kind, done.detail))
        self._say(f"  {at:6.1f} s  {kind.replace('_', ' ')}: {done.detail}")
        if done.undo is not None:
            self._to_undo.append((time.monotonic() + done.lasts, done.undo))

    def _undo(self, now: float) -> None:
        for one in [one for one in self._to_undo if one[0] <= now]:
            try:
                one[1]()
            except psycopg.Error:
                continue  # during an outage, try again at the next tick
            self._to_undo.remove(one)
