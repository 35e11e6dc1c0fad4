"""Operator: retries failed items, cancels jobs, edits and replays dead letters during the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, LiteralString
from uuid import UUID

from app.chaos.actors import Actor
from app.chaos.model import Model
from app.chaos.part import ChaosPart
from app.chaos.stage import Stage
from app.context import Connection, Context
from app.engine.batches import Batch, cancel, retry_failed
from app.engine.batches.statements import statement
from app.engine.dead_letters import letters, manage, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.awaited import Progress
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace
from app.errors import Conflict, NotFound

_ACTOR = "chaos"
_MOST_GENERATIONS = 5
_WITH_FAILURES: LiteralString = """
SELECT j.id, j.{tenant} FROM {jobs} j
 WHERE j.{failed} > 0 AND j.generation < %(most)s
 ORDER BY CASE WHEN %(newest)s THEN (SELECT max(i.completed_at) FROM {items} i
                                      WHERE i.{job_id} = j.id AND i.{status} = {error}) END DESC NULLS LAST, random()
 LIMIT 1
"""
_NEWEST_FAILED: LiteralString = """
SELECT id FROM {items} WHERE {job_id} = %s AND {status} = {error} ORDER BY completed_at DESC LIMIT %s
"""
_OPEN_JOB: LiteralString = """
SELECT id, {tenant} FROM {jobs} WHERE status IN ('pending', 'processing') ORDER BY random() LIMIT 1
"""
_CANNOT_BE_REPLAYED = "ReusedId"
"""Error class of an event with another event's id. Its replay is refused."""
_DISCARDED = "discarded by chaos"
"""Note of discarded letters. `laws` selects them by it."""


class _Interrupted(Exception):
    """A replay was interrupted. The next plan continues it."""


class Operator(Actor):
    """Retries all or some failed items of a job, and at times cancels a job, edits a dead request or replays.

    An edited request has the data of the dead one and a new id, so its call may be in doubt.
    """

    pause = 0.4

    def __init__(self, stage: Stage, model: Model, seed: str, *, parts: Sequence[ChaosPart]) -> None:
        super().__init__(stage, model, seed)
        self._parts = parts
        self._batches = [part.work.batch for part in parts if part.work is not None]

    def act(self) -> None:
        """Retry, cancel, edit or replay, at random."""
        (action,) = self.dice.choices((self._retry, self._cancel, self._edit, None), (65, 3, 7, 25))
        if action is None or not self._batches:
            self._replay()
        else:
            action(self.dice.choice(self._batches))

    def _cancel(self, batch: Batch[Any, Any]) -> None:
        with self.stage.connect() as connection:
            job = connection.execute(statement(batch, _OPEN_JOB)).fetchone()
            if job is None:
                return
            with suppress(Conflict, NotFound):  # the job has ended meanwhile
                cancel(Context.start(connection, job[1]), batch, job[0], actor=_ACTOR, reason="chaos")
                self.model.count("cancelled a job")

    def _edit(self, batch: Batch[Any, Any]) -> None:
        requests = Filters(type=batch.requested.type)
        with self.stage.connect() as connection:
            dead = [one for one in letters.select(connection, requests) if one.event_id not in self.model.hopeless]
            if not dead:
                return
            letter = self.dice.choice(dead)
            with suppress(Conflict, NotFound):  # resolved meanwhile, or its call is being made
                manage.edit(connection, letter.id, manage.current_data(letter), reason="chaos", actor=_ACTOR)
                self.model.count("edited a dead request")

    def _replay(self) -> None:
        try:
            with self.stage.connect() as connection:
                if replay_all(connection, self.model.hopeless, self._parts, self._stop_if_over):
                    self.model.count("replayed dead letters")
        except (Conflict, _Interrupted):
            pass  # letters changed since the plan, or the run is over: the next plan contains them

    def _retry(self, batch: Batch[Any, Any]) -> None:
        with self.stage.connect() as connection:
            # The call of a recent failure may still reach the portal, so a retry then is most dangerous.
            wanted = {"most": _MOST_GENERATIONS, "newest": self._heads()}
            job = connection.execute(statement(batch, _WITH_FAILURES), wanted).fetchone()
            if job is None:
                return
            job_id, workspace_id = job
            some = None if self._heads() else _newest(connection, batch, job_id, self.dice.randint(1, 5))
            try:
                retried = retry_failed(Context.start(connection, workspace_id), batch, job_id, some)
            except Conflict:
                return  # one of the items was retried meanwhile
        if retried.items:
            self.model.count("retried failed items")

    def _heads(self) -> bool:
        return self.dice.random() < 0.5  # noqa: PLR2004 - of two sides

    def _stop_if_over(self, _progress: Progress) -> None:
        if self.over.is_set():
            raise _Interrupted


def replay_all(
    connection: Connection,
    hopeless: set[UUID],
    parts: Sequence[ChaosPart],
    show: Callable[[Progress], None] = lambda _: None,
) -> int:
    """Replay all dead letters but the hopeless, and discard those that the domains name. Returns their number.

    Raises `Conflict` if a letter changes meanwhile.
    """
    discarded = sum(_discard(connection, part) for part in parts)
    dead = letters.select(connection, Filters(), limit=None)
    connection.commit()
    ids = [
        letter.id for letter in dead if letter.event_id not in hopeless and letter.error_class != _CANNOT_BE_REPLAYED
    ]
    if not ids:
        return discarded
    plan = plans.make(connection, Filters(ids=ids), actor=_ACTOR)
    return discarded + replay.run(connection, plan, Pace(), actor=_ACTOR, reason="chaos", show=show).replayed


def _discard(connection: Connection, part: ChaosPart) -> int:
    """Discard dead letters that can never be replayed. Returns their number. Raises `Conflict` if one changes."""
    ids = list(part.discard(connection))
    if ids:
        manage.discard(connection, ids, note=_DISCARDED, actor=_ACTOR)
    connection.commit()
    return len(ids)


def _newest(connection: Connection, batch: Batch[Any, Any], job_id: UUID, most: int) -> Sequence[UUID]:
    return [item_id for (item_id,) in connection.execute(statement(batch, _NEWEST_FAILED), [job_id, most])]
