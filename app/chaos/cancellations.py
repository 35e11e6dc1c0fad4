"""Cancellations: cancel orders before their submit, and while robots are about to enter them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from app.chaos.actors import Actor
from app.chaos.model import Submission
from app.chaos.submitting import orders, submit
from app.context import Connection, Context
from app.logistics.cancel import AlreadyShipped, cancel_orders
from app.logistics.orders import import_orders
from app.logistics.submit import CancelledOrders

_SIZE = (1, 5)
_SHARE_BEFORE = 0.3
_OPEN_ORDER = """
SELECT i.order_id, j.workspace_id FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
 WHERE i.status = %s ORDER BY random() LIMIT 1
"""
_LOCK_ITEMS = """
SELECT i.status = 'pending' AND i.retry_count = 0 FROM logistics.robot_job_items i
 WHERE i.order_id = %s ORDER BY i.id FOR UPDATE
"""
_ITEMS = "SELECT count(*) FROM logistics.robot_job_items WHERE order_id = %s"


class Cancellations(Actor):
    """Cancels an order of an open item, or an order before its submit."""

    pause = 1.0

    def act(self) -> None:
        """Cancel one order."""
        if self.dice.random() < _SHARE_BEFORE:
            self._before_submit()
        else:
            self._after_submit()

    def _before_submit(self) -> None:
        """Import orders, cancel one of them, and submit all. The submit must be refused."""
        workspace_id = self.dice.choice(self.stage.workspaces)
        rows = orders(self.dice.randint(*_SIZE), self.dice)
        with self.stage.connect() as connection:
            context = Context.start(connection, workspace_id)
            order_id = import_orders(context, rows).order_ids[0]
            cancel_orders(context, [order_id])
        self.model.cancel(order_id, datetime.now(UTC), is_begun=False)
        submission = Submission(
            workspace_id, f"{self.name}-{rows[0].reference}", frozenset(row.reference for row in rows)
        )
        self.model.take_back(submission)
        try:
            submit(self.stage, submission, rows)
        except CancelledOrders:
            self.model.count("cancelled an order before its submit")
        else:
            self.model.complain("a cancelled order cannot be submitted", f"order {order_id}, key {submission.key}")

    def _after_submit(self) -> None:
        with self.stage.connect() as connection:
            row = connection.execute(_OPEN_ORDER, [self.dice.choice(("pending", "processing"))]).fetchone()
        if row is None:
            return
        order_id, workspace_id = row
        try:
            with self.stage.connect() as connection:
                is_begun = _cancel(Context.start(connection, workspace_id), order_id)
        except AlreadyShipped:
            return
        self.model.cancel(order_id, datetime.now(UTC), is_begun=is_begun)
        self.model.count("cancelled an order after its submit")


def _cancel(context: Context, order_id: UUID) -> bool:
    """Cancel an order in the caller's transaction. Returns whether a robot may have begun to enter it.

    The items are locked first, so a robot that begins one of them waits and then finds the order cancelled.
    """
    not_begun = context.connection.execute(_LOCK_ITEMS, [order_id]).fetchall()
    cancel_orders(context, [order_id])
    # Items that were submitted after the lock are not locked.
    is_all = _number_of_items(context.connection, order_id) == len(not_begun)
    return not (is_all and all(one for (one,) in not_begun))


def _number_of_items(connection: Connection, order_id: UUID) -> int:
    row = connection.execute(_ITEMS, [order_id]).fetchone()
    return int(row[0]) if row else 0
