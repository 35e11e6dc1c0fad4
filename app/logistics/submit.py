"""Submit orders as a robot job.

The orders are locked by id before anything is looked up about them, so of two submits that overlap the second sees
what the first has committed. The job row is new and its idempotency key is taken after the orders: a
transaction that holds a key waits for no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.context import Context
from app.engine.batches import lifecycle
from app.engine.batches.rules import check_key, name_some
from app.engine.batches.store import job_by_key
from app.errors import Conflict, DuplicateRequest, InvalidInput, KeyReused
from app.logistics import availability, carriers, elsewhere, rules
from app.logistics.elsewhere import Elsewhere
from app.logistics.fields import carrier_name
from app.logistics.store import ROBOT_JOBS, RobotJob, insert_items
from events import new_id


class ForeignOrders(InvalidInput):
    """Orders that do not exist, or are another workspace's; `order_ids` are all of them."""

    def __init__(self, order_ids: Sequence[UUID]) -> None:
        super().__init__(
            f"order_ids: {len(order_ids)} of them are no orders of this workspace: {name_some(order_ids)};"
            " nothing was created"
        )
        self.order_ids = tuple(order_ids)


class AlreadyTaken(Conflict):
    """Orders that are shipped, or that another job has still to ship; `order_ids` are all of them."""

    def __init__(self, order_ids: Sequence[UUID]) -> None:
        super().__init__(
            f"order_ids: {len(order_ids)} of them are shipped already or in a job that is not done:"
            f" {name_some(order_ids)}; nothing was created"
        )
        self.order_ids = tuple(order_ids)


class CancelledOrders(Conflict):
    """Orders that are cancelled; `order_ids` are all of them."""

    def __init__(self, order_ids: Sequence[UUID]) -> None:
        super().__init__(
            f"order_ids: {len(order_ids)} of them are cancelled: {name_some(order_ids)};"
            " nothing was created. Leave them out, or `orders update ORDER --set status=pending`"
        )
        self.order_ids = tuple(order_ids)


class InDoubtElsewhere(Conflict):
    """Orders that another carrier may have; `order_ids` are all of them."""

    def __init__(self, found: Sequence[Elsewhere]) -> None:
        super().__init__(
            f"order_ids: {len(found)} of them may be in another carrier's portal, so nothing was created:"
            f" {name_some([one.order_id for one in found])}. {found[0].sentence}"
        )
        self.order_ids = tuple(one.order_id for one in found)


class CarrierDisabled(Conflict):
    """The workspace has disabled the carrier: nothing is submitted, and no call begins."""


@dataclass(frozen=True, slots=True)
class PendingSubmitted:
    """What a submit of the pending orders came to.

    `job` is None when no order was free; `in_open_jobs` counts, by job, the pending orders that other jobs have;
    `in_doubt` counts the orders left out because another carrier may have them.
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
    """Submit orders as one job: the job, its items and `robot/job.submitted`, or nothing of it.

    An order may be in several jobs, and each ships it; without `again`, `AlreadyTaken` is raised instead.
    Raises `InvalidInput` for an empty list, an order named twice, or orders that are not the workspace's
    (`ForeignOrders`); `CancelledOrders`; `InDoubtElsewhere`; `NotFound` or `Conflict` for a carrier that is unknown,
    disabled or without credentials; `DuplicateRequest` and `KeyReused`, both with the existing job's id, for a key that
    was used before.
    Waits for other transactions that submit or change one of these orders.
    """
    rules.check_order_list(order_ids)
    check_key(idempotency_key)
    carrier = carrier_name(carrier)
    with context.connection.transaction():
        # A repeated request need not wait for its orders.
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


def submit_pending(
    context: Context, *, carrier: str = "coordinadora", idempotency_key: str | None = None
) -> PendingSubmitted:
    """Submit every order of the workspace that is not shipped, not cancelled and in no open job, as one job.

    Those that another carrier may have are left out.
    Of two that run at once each order goes to one. Raises as `create_robot_job` does for a carrier; for a key that
    was used before `DuplicateRequest` if there is nothing new to submit, else `KeyReused`.
    """
    check_key(idempotency_key)
    carrier = carrier_name(carrier)
    with context.connection.transaction():
        _check_carrier(context, carrier)
        in_open_jobs = availability.pending_in_open_jobs(context)
        order_ids = availability.lock_free_orders(context, carrier)
        in_doubt = availability.count_in_doubt(context, carrier)
        if idempotency_key is not None and (used := job_by_key(context, ROBOT_JOBS, idempotency_key)) is not None:
            # With nothing new to submit it is the same request: what it took is in its job.
            if order_ids:
                raise KeyReused(idempotency_key, used.id, ROBOT_JOBS.content)
            raise DuplicateRequest(idempotency_key, used.id)
        if not order_ids:
            # What another submit has taken meanwhile is elsewhere too.
            return PendingSubmitted(None, availability.pending_in_open_jobs(context), in_doubt)
        job = _open(context, order_ids, carrier, idempotency_key)
        _publish(context, job, order_ids)
    return PendingSubmitted(job, in_open_jobs, in_doubt)


def _open(context: Context, order_ids: Sequence[UUID], carrier: str, key: str | None) -> RobotJob:
    fingerprint = rules.fingerprint(carrier, order_ids)
    request = {"carrier": carrier}
    return lifecycle.open_job(context, ROBOT_JOBS, len(order_ids), request=request, key=key, fingerprint=fingerprint)


def _check_orders(context: Context, order_ids: Sequence[UUID], locked: int, *, again: bool) -> None:
    if locked < len(order_ids):
        raise ForeignOrders(availability.missing_orders(context, order_ids))
    if cancelled := availability.cancelled_orders(context, order_ids):
        raise CancelledOrders(cancelled)
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
