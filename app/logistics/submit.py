"""Submit orders as a robot job.

A submit locks its orders by id before it checks them, so of two overlapping submits the second sees the rows that the
first committed. It inserts the job with its idempotency key after it has locked the orders, so a transaction that holds
a key never waits for an order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.context import Context
from app.engine.batches import lifecycle
from app.engine.batches.rules import check_key, name_some
from app.engine.batches.store import job_by_key
from app.errors import Conflict, DuplicateRequest, KeyReused, NotFound
from app.logistics import availability, carriers, elsewhere, rules
from app.logistics.availability import LockedOrders
from app.logistics.elsewhere import Elsewhere
from app.logistics.fields import carrier_name
from app.logistics.store import ROBOT_JOBS, RobotJob, insert_items
from events import new_id


class ForeignOrders(NotFound):
    """Orders do not exist or belong to another workspace. `order_ids`: all of them."""

    def __init__(self, order_ids: Sequence[UUID]) -> None:
        super().__init__(
            f"order_ids: {len(order_ids)} of them are not orders of this workspace: {name_some(order_ids)};"
            " nothing was created"
        )
        self.order_ids = tuple(order_ids)


class AlreadyTaken(Conflict):
    """Orders are shipped or in another open job. `order_ids`: all of them."""

    def __init__(self, order_ids: Sequence[UUID]) -> None:
        super().__init__(
            f"order_ids: {len(order_ids)} of them are shipped already or in a job that has not ended:"
            f" {name_some(order_ids)}; nothing was created"
        )
        self.order_ids = tuple(order_ids)


class CancelledOrders(Conflict):
    """Orders are cancelled. `order_ids`: all of them."""

    def __init__(self, order_ids: Sequence[UUID]) -> None:
        super().__init__(
            f"order_ids: {len(order_ids)} of them are cancelled: {name_some(order_ids)};"
            " nothing was created. Leave them out, or `orders update ORDER --set status=pending`"
        )
        self.order_ids = tuple(order_ids)


class InDoubtElsewhere(Conflict):
    """Orders that another carrier may have. `order_ids`: all of them."""

    def __init__(self, found: Sequence[Elsewhere]) -> None:
        super().__init__(
            f"order_ids: {len(found)} of them may be in another carrier's portal, so nothing was created:"
            f" {name_some([one.order_id for one in found])}. {found[0].sentence}"
        )
        self.order_ids = tuple(one.order_id for one in found)


class CarrierDisabled(Conflict):
    """The workspace has disabled the carrier, so jobs cannot be submitted."""


@dataclass(frozen=True, slots=True)
class OrdersSubmitted:
    """A submitted job. `repeated`: its orders that are shipped already or in another open job."""

    job: RobotJob
    repeated: int


@dataclass(frozen=True, slots=True)
class PendingSubmitted:
    """The result of submitting the pending orders.

    `job`: None if no order was free. `in_open_jobs`: the number of pending orders in other jobs, by job. `in_doubt`:
    the number of orders left out because another carrier may have them.
    """

    job: RobotJob | None
    in_open_jobs: dict[UUID, int]
    in_doubt: int = 0


def create_robot_job(
    context: Context,
    order_ids: Sequence[UUID],
    *,
    carrier: str = "coordinadora",
    idempotency_key: str | None = None,
    again: bool = True,
) -> RobotJob:
    """Submit orders as one job: insert the job and its items, and publish `robot/job.submitted`, in one transaction.

    An order may be in several jobs, and each job ships it. Without `again`, raises `AlreadyTaken` instead. Waits for
    other transactions that submit or change one of these orders.

    Raises `InvalidInput` for an empty list, a duplicate order, or orders that are not the workspace's
    (`ForeignOrders`); `CancelledOrders`; `InDoubtElsewhere`; `NotFound` or `Conflict` for a carrier that is unknown,
    disabled or without credentials; `DuplicateRequest` and `KeyReused`, both with the existing job's id, for a key that
    was used before.
    """
    rules.check_order_list(order_ids)
    check_key(idempotency_key)
    carrier = carrier_name(carrier)
    with context.connection.transaction():
        # Check the key first: a repeated request need not wait for its orders.
        fingerprint = rules.fingerprint(carrier, order_ids)
        lifecycle.refuse_used_key(context, ROBOT_JOBS, idempotency_key, fingerprint)
        locked = availability.lock_orders(context, order_ids)
        job = _open(context, order_ids, carrier, idempotency_key)
        _check_carrier(context, carrier)
        _check_orders(context, order_ids, locked, again=again)
        if found := elsewhere.of_orders(context, order_ids, carrier):
            raise InDoubtElsewhere(found)
        _publish(context, job, order_ids)
    return job


def submit_orders(
    context: Context,
    order_ids: Sequence[UUID],
    *,
    carrier: str = "coordinadora",
    idempotency_key: str | None = None,
    again: bool = True,
) -> OrdersSubmitted:
    """Submit orders as `create_robot_job` does, and count those that this job ships again. Raises the same errors.

    The count is exact: the orders are locked until the transaction ends.
    """
    with context.connection.transaction():
        job = create_robot_job(context, order_ids, carrier=carrier, idempotency_key=idempotency_key, again=again)
        return OrdersSubmitted(job, availability.count_repeated(context, job.id))


def submit_pending(
    context: Context, *, carrier: str = "coordinadora", idempotency_key: str | None = None
) -> PendingSubmitted:
    """Submit all pending orders of the workspace that are in no open job, as one job.

    Leaves out orders that another carrier may have. Two concurrent calls never take the same order. Raises for a
    carrier as `create_robot_job` does. For a key that was used before, raises `DuplicateRequest` if there is no new
    order to submit, else `KeyReused`.
    """
    check_key(idempotency_key)
    carrier = carrier_name(carrier)
    with context.connection.transaction():
        _check_carrier(context, carrier)
        in_open_jobs = availability.pending_in_open_jobs(context)
        order_ids = availability.lock_free_orders(context, carrier)
        in_doubt = availability.count_in_doubt(context, carrier)
        if idempotency_key is not None and (used := job_by_key(context, ROBOT_JOBS, idempotency_key)) is not None:
            # Without new orders, this is the same request: its orders are in the existing job.
            if order_ids:
                raise KeyReused(idempotency_key, used.id, ROBOT_JOBS.content)
            raise DuplicateRequest(idempotency_key, used.id)
        if not order_ids:
            # Read again: another submit may have taken orders meanwhile.
            return PendingSubmitted(None, availability.pending_in_open_jobs(context), in_doubt)
        job = _open(context, order_ids, carrier, idempotency_key)
        _publish(context, job, order_ids)
    return PendingSubmitted(job, in_open_jobs, in_doubt)


def _open(context: Context, order_ids: Sequence[UUID], carrier: str, key: str | None) -> RobotJob:
    fingerprint = rules.fingerprint(carrier, order_ids)
    request = {"carrier": carrier}
    return lifecycle.open_job(context, ROBOT_JOBS, len(order_ids), request=request, key=key, fingerprint=fingerprint)


def _check_orders(context: Context, order_ids: Sequence[UUID], locked: LockedOrders, *, again: bool) -> None:
    if locked.count < len(order_ids):
        raise ForeignOrders(availability.missing_orders(context, order_ids))
    if locked.cancelled:
        raise CancelledOrders(locked.cancelled)
    if not again and (taken := availability.taken_orders(context, order_ids)):
        raise AlreadyTaken(taken)


def _publish(context: Context, job: RobotJob, order_ids: Sequence[UUID]) -> None:
    insert_items(context.connection, job.id, [new_id() for _ in order_ids], order_ids)
    lifecycle.publish_submitted(context, ROBOT_JOBS, job, len(order_ids))


def _check_carrier(context: Context, name: str) -> None:
    carrier = carriers.show_carrier(context, name)
    if not carrier.is_enabled:
        raise CarrierDisabled(f"carrier: {name} is disabled for this workspace; `carriers enable {name}`")
    if not carrier.has_password or not carrier.portal_username or not carrier.portal_url:
        message = f"carrier: {name} has no credentials for its portal; `carriers set {name}`"
        raise Conflict(message)
