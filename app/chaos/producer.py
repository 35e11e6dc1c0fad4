"""The producer: submits jobs like producers that crash, lose answers, retry and run concurrently."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NoReturn
from uuid import UUID

import psycopg

import events
from app.chaos.actors import Actor, until_known
from app.chaos.model import Model, Submission
from app.chaos.stage import Stage
from app.chaos.submitting import create, open_items, orders, submit
from app.context import Context
from app.engine.queue.publish import publish
from app.logistics.orders import OrderRow
from app.logistics.submit import CancelledOrders, CarrierDisabled
from events import Event, robot

_ENOUGH = 150
"""Open items at which no more jobs are submitted, so that the run can end in time."""
_SIZES = ((1, 1), (2, 12), (10, 50), (100, 300))
_HOW_OFTEN_EACH_SIZE = (3, 5, 4, 1)
_SHARE_OF_JOBS_WITH_OLD_ORDERS = 0.2
_WAYS = ("plainly", "at_once", "again", "answer_lost", "before_commit", "taken_back")
_HOW_OFTEN_EACH_WAY = (4, 3, 2, 3, 2, 2)


class _ChangedMind(Exception):
    """The producer crashes after its last statement and before its commit."""


class Producer(Actor):
    """Submits jobs of 1 to 300 orders for all workspaces, each with an idempotency key."""

    pause = 0.12

    def __init__(self, stage: Stage, model: Model, seed: str) -> None:
        super().__init__(stage, model, seed)
        self._earlier: dict[UUID, list[OrderRow]] = {workspace_id: [] for workspace_id in stage.workspaces}

    def act(self) -> None:
        """Submit one job, with one of the producer's faults or none."""
        if self._is_enough():
            return
        rows, submission = self._invent()
        self.model.intend(submission)
        way = self.dice.choices(_WAYS, _HOW_OFTEN_EACH_WAY)[0]
        if way == "taken_back":
            self._take_back(submission, rows)
            return
        if way in {"answer_lost", "before_commit"}:
            self._lose(submission, rows, commit=way == "answer_lost")
        try:
            self._submit_so_often(submission, rows, way)
        except CancelledOrders:
            # An order of an earlier job was cancelled meanwhile. Nothing was submitted with this key.
            self._earlier[submission.workspace_id] = []
            self.model.take_back(submission)
            return
        self.model.count(f"submitted {way.replace('_', ' ')}")

    def _submit_so_often(self, submission: Submission, rows: Sequence[OrderRow], way: str) -> None:
        together = 2 if way == "at_once" else 1
        with ThreadPoolExecutor(together) as pool:
            for job_id in pool.map(lambda _: self._submit(submission, rows), range(together)):
                self.model.accept(submission, job_id)
        if way == "again":
            self.model.accept(submission, self._submit(submission, rows))

    def _is_enough(self) -> bool:
        with self.stage.connect() as connection:
            return open_items(connection, self.stage.workspaces) >= _ENOUGH

    def _invent(self) -> tuple[list[OrderRow], Submission]:
        workspace_id = self.dice.choice(self.stage.workspaces)
        size = self.dice.randint(*self.dice.choices(_SIZES, _HOW_OFTEN_EACH_SIZE)[0])
        rows = orders(size, self.dice)
        key = f"{self.name}-{rows[0].reference}"
        earlier = self._earlier[workspace_id]
        if earlier and self.dice.random() < _SHARE_OF_JOBS_WITH_OLD_ORDERS:
            # An order may be in several jobs; each ships it.
            rows += self.dice.sample(earlier, min(len(earlier), size))
        self._earlier[workspace_id] = rows[:20]
        return rows, Submission(workspace_id, key, frozenset(row.reference for row in rows))

    def _submit(self, submission: Submission, rows: Sequence[OrderRow]) -> UUID:
        return until_known(lambda: submit(self.stage, submission, rows))

    def _take_back(self, submission: Submission, rows: Sequence[OrderRow]) -> None:
        """Submit and publish another event, and crash before the commit: nothing may remain."""
        with (
            suppress(_ChangedMind, CancelledOrders, CarrierDisabled, psycopg.Error),
            self.stage.connect() as connection,
            connection.transaction(),
        ):
            create(connection, submission, rows)
            own = _note(Context.start(connection, submission.workspace_id))
            self.model.take_back_events([own.id])
            publish(connection, own)
            _change_mind()
        self.model.take_back(submission)
        self.model.count("submitted taken back")

    def _lose(self, submission: Submission, rows: Sequence[OrderRow], *, commit: bool) -> None:
        """Submit and disconnect right before the commit or before its answer. The result is unknown."""
        try:
            connection = self.stage.connect()
        except psycopg.Error:
            return
        try:
            connection.execute("SELECT")  # begins the transaction; otherwise each part would commit separately
            create(connection, submission, rows)
            if commit:
                connection.pgconn.send_query(b"COMMIT")
                connection.pgconn.flush()
        except (CancelledOrders, CarrierDisabled, psycopg.Error):
            pass  # the result stays unknown, as intended
        finally:
            connection.close()


def _note(context: Context) -> Event[robot.ItemCompleted]:
    """Return a result for an item that does not exist."""
    job_id = events.new_id()
    said = robot.ItemCompleted(
        job_id=job_id, item_id=events.new_id(), attempt=0, status="error", error_type="unknown", error_message="unsaid"
    )
    return events.new(said, now=context.now, subject=job_id, tenant=context.tenant_id)


def _change_mind() -> NoReturn:
    raise _ChangedMind
