"""Operator: retries failed items, cancels jobs, edits and replays dead letters during the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

from app.chaos.actors import Actor
from app.context import Connection, Context
from app.engine.dead_letters import letters, manage, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.awaited import Progress
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace
from app.errors import Conflict, NotFound
from app.logistics.jobs import cancel_job, retry_failed_items

_ACTOR = "chaos"
_MOST_GENERATIONS = 5
_WITH_FAILURES = """
SELECT j.id, j.workspace_id FROM logistics.robot_jobs j
 WHERE j.error_count > 0 AND j.generation < %(most)s
 ORDER BY CASE WHEN %(newest)s THEN (SELECT max(i.completed_at) FROM logistics.robot_job_items i
                                      WHERE i.job_id = j.id AND i.status = 'error') END DESC NULLS LAST, random()
 LIMIT 1
"""
_NEWEST_FAILED = """
SELECT id FROM logistics.robot_job_items WHERE job_id = %s AND status = 'error' ORDER BY completed_at DESC LIMIT %s
"""


_OPEN_JOB = """
SELECT id, workspace_id FROM logistics.robot_jobs WHERE status IN ('pending', 'processing') ORDER BY random() LIMIT 1
"""
_CANNOT_BE_REPLAYED = "ReusedId"
"""Error class of an event with another event's id. Its replay is refused."""
_DISCARDED = "discarded by chaos"
"""Note of discarded letters. `laws` selects them by it."""
_DEAD_OF_CANCELLED = """
SELECT f.id FROM engine.failed_jobs f
 WHERE f.job_type = 'robot/item.requested' AND f.resolved_at IS NULL
   AND f.event_data -> 'data' ->> 'order_id' IN (SELECT o.id::text FROM logistics.orders o WHERE o.status = 'cancelled')
"""
_DEAD_REQUEST = Filters(type="robot/item.requested")


class _Interrupted(Exception):
    """A replay was interrupted. The next plan continues it."""


class Operator(Actor):
    """Retries all or some failed items of a job, and at times cancels a job, edits a dead request or replays.

    An edited request has the data of the dead one and a new id, so its call may be in doubt.
    """

    pause = 0.4

    def act(self) -> None:
        """Retry, cancel, edit or replay, at random."""
        (action,) = self.dice.choices((self._retry, self._cancel, self._edit, self._replay), (65, 3, 7, 25))
        action()

    def _cancel(self) -> None:
        with self.stage.connect() as connection:
            job = connection.execute(_OPEN_JOB).fetchone()
            if job is None:
                return
            with suppress(Conflict, NotFound):  # the job has ended meanwhile
                cancel_job(Context.start(connection, job[1]), job[0], actor=_ACTOR, reason="chaos")
                self.model.count("cancelled a job")

    def _edit(self) -> None:
        with self.stage.connect() as connection:
            dead = [one for one in letters.select(connection, _DEAD_REQUEST) if one.event_id not in self.model.hopeless]
            if not dead:
                return
            letter = self.dice.choice(dead)
            with suppress(Conflict, NotFound):  # resolved meanwhile, or its call is being made
                manage.edit(connection, letter.id, manage.current_data(letter), reason="chaos", actor=_ACTOR)
                self.model.count("edited a dead request")

    def _replay(self) -> None:
        try:
            with self.stage.connect() as connection:
                if replay_all(connection, self.model.hopeless, self._stop_if_over):
                    self.model.count("replayed dead letters")
        except (Conflict, _Interrupted):
            pass  # letters changed since the plan, or the run is over: the next plan contains them

    def _retry(self) -> None:
        with self.stage.connect() as connection:
            # The call of a recent failure may still reach the portal, so a retry then is most dangerous.
            wanted = {"most": _MOST_GENERATIONS, "newest": self._heads()}
            job = connection.execute(_WITH_FAILURES, wanted).fetchone()
            if job is None:
                return
            job_id, workspace_id = job
            some = None if self._heads() else _newest(connection, job_id, self.dice.randint(1, 5))
            try:
                retried = retry_failed_items(Context.start(connection, workspace_id), job_id, some)
            except Conflict:
                return  # one of the items was retried meanwhile
        if retried.items:
            self.model.count("retried failed items")

    def _heads(self) -> bool:
        return self.dice.random() < 0.5  # noqa: PLR2004 - of two sides

    def _stop_if_over(self, _progress: Progress) -> None:
        if self.over.is_set():
            raise _Interrupted


def replay_all(connection: Connection, hopeless: set[UUID], show: Callable[[Progress], None] = lambda _: None) -> int:
    """Replay all dead letters but the hopeless, and discard requests of cancelled orders. Returns their number.

    Raises `Conflict` if a letter changes meanwhile.
    """
    discarded = _discard_cancelled(connection)
    dead = letters.select(connection, Filters(), limit=None)
    connection.commit()
    ids = [
        letter.id for letter in dead if letter.event_id not in hopeless and letter.error_class != _CANNOT_BE_REPLAYED
    ]
    if not ids:
        return discarded
    plan = plans.make(connection, Filters(ids=ids), actor=_ACTOR)
    return discarded + replay.run(connection, plan, Pace(), actor=_ACTOR, reason="chaos", show=show).replayed


def _discard_cancelled(connection: Connection) -> int:
    """Discard dead requests of cancelled orders, which cannot be replayed. Returns their number.

    Raises `Conflict` if a letter changes meanwhile.
    """
    ids = [letter_id for (letter_id,) in connection.execute(_DEAD_OF_CANCELLED)]
    if ids:
        manage.discard(connection, ids, note=_DISCARDED, actor=_ACTOR)
    connection.commit()
    return len(ids)


def _newest(connection: Connection, job_id: UUID, most: int) -> Sequence[UUID]:
    return [item_id for (item_id,) in connection.execute(_NEWEST_FAILED, [job_id, most])]
