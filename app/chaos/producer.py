"""The producer: submits jobs like producers that crash, lose answers, retry and run concurrently."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NoReturn
from uuid import UUID

import psycopg

from app.chaos.actors import Actor, until_known
from app.chaos.item_results import failure
from app.chaos.model import Model, Submission
from app.chaos.part import Work
from app.chaos.stage import Stage
from app.chaos.submitting import new_key, open_items, submit
from app.context import Context
from app.engine.queue.publish import publish
from events import Event, new_id

_ENOUGH = 150
"""Open items at which no more jobs are submitted, so that the run can end in time."""
_SIZES = ((1, 1), (2, 12), (10, 50), (100, 300))
_HOW_OFTEN_EACH_SIZE = (3, 5, 4, 1)
_WAYS = ("plainly", "at_once", "again", "answer_lost", "before_commit", "rolled_back")
_HOW_OFTEN_EACH_WAY = (4, 3, 2, 3, 2, 2)


class _ChangedMind(Exception):
    """The producer crashes after its last statement and before its commit."""


class Producer(Actor):
    """Submits jobs of 1 to 300 new items for all workspaces of a work, each with an idempotency key."""

    pause = 0.12

    def __init__(self, stage: Stage, model: Model, seed: str, *, work: Work) -> None:
        super().__init__(stage, model, seed)
        self._work = work
        self._errors: tuple[type[Exception], ...] = (*work.refused, *work.later, psycopg.Error)

    def act(self) -> None:
        """Submit one job, with one of the producer's faults or none."""
        if self._is_enough():
            return
        submission = self._invent()
        self.model.intend(submission)
        way = self.dice.choices(_WAYS, _HOW_OFTEN_EACH_WAY)[0]
        if way == "rolled_back":
            self._take_back(submission)
            return
        if way in {"answer_lost", "before_commit"}:
            self._lose(submission, commit=way == "answer_lost")
        try:
            self._submit_so_often(submission, way)
        except self._work.refused:
            # The domain refuses the content meanwhile. Nothing was submitted with this key.
            self.model.take_back(submission)
            return
        self.model.count(f"submitted {way.replace('_', ' ')}")

    def _submit_so_often(self, submission: Submission, way: str) -> None:
        together = 2 if way == "at_once" else 1
        with ThreadPoolExecutor(together) as pool:
            for job_id in pool.map(lambda _: self._submit(submission), range(together)):
                self.model.accept(submission, job_id)
        if way == "again":
            self.model.accept(submission, self._submit(submission))

    def _is_enough(self) -> bool:
        with self.stage.connect() as connection:
            return open_items(connection, self._work.batch, self._work.tenants) >= _ENOUGH

    def _invent(self) -> Submission:
        workspace_id = self.dice.choice(self._work.tenants)
        size = self.dice.randint(*self.dice.choices(_SIZES, _HOW_OFTEN_EACH_SIZE)[0])
        content, names = self._work.invent(workspace_id, size, self.dice)
        return Submission(workspace_id, new_key(self.name), names, content)

    def _submit(self, submission: Submission) -> UUID:
        return until_known(lambda: submit(self.stage, self._work, submission))

    def _take_back(self, submission: Submission) -> None:
        """Submit and publish another event, and crash before the commit: nothing may remain."""
        with (
            suppress(_ChangedMind, *self._errors),
            self.stage.connect() as connection,
            connection.transaction(),
        ):
            self._work.create(connection, submission)
            own = self._unsaid(Context.start(connection, submission.workspace_id))
            self.model.take_back_events([own.id])
            publish(connection, own)
            _change_mind()
        self.model.take_back(submission)
        self.model.count("submitted rolled back")

    def _lose(self, submission: Submission, *, commit: bool) -> None:
        """Submit and disconnect right before the commit or before its answer. The result is unknown."""
        try:
            connection = self.stage.connect()
        except psycopg.Error:
            return
        try:
            connection.execute("SELECT")  # begins the transaction; otherwise each part would commit separately
            self._work.create(connection, submission)
            if commit:
                connection.pgconn.send_query(b"COMMIT")
                connection.pgconn.flush()
        except self._errors:
            pass  # the result stays unknown, as intended
        finally:
            connection.close()

    def _unsaid(self, context: Context) -> Event[Any]:
        """Return a result for an item that does not exist."""
        return failure(self._work, (new_id(), new_id(), context.tenant_id), 0, "unsaid", context.now)


def _change_mind() -> NoReturn:
    raise _ChangedMind
