"""Submit orders as a robot job: the whole list or nothing."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from app.context import Connection
from app.database import as_service
from app.errors import Conflict, InvalidInput, NotFound
from app.logistics import carriers, jobs
from app.logistics.submit import CarrierDisabled, ForeignOrders, create_robot_job
from app.simulators.portal import Portal
from tests.helpers.factories import make_workspace
from tests.helpers.shops import Shop
from tests.helpers.support import drain_all, scalar, waiting


def made(connection: Connection) -> tuple[int, int, int]:
    """Return the numbers of jobs, items and queue rows."""
    return (
        scalar(connection, "SELECT count(*) FROM logistics.robot_jobs"),
        scalar(connection, "SELECT count(*) FROM logistics.robot_job_items"),
        scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs"),
    )


def _forget_the_password(shop: Shop) -> None:
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_password = NULL")


def _forget_the_username(shop: Shop) -> None:
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_username = NULL")


def _forget_the_address(shop: Shop) -> None:
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_url = NULL")


def _disable(shop: Shop) -> None:
    carriers.disable_carrier(shop.context, "coordinadora")


def _leave(_shop: Shop) -> None:
    """Change nothing."""


def test_a_job_has_its_orders_in_their_order_and_one_event(shop: Shop) -> None:
    """Job, items and one `robot/job.submitted` with the job's fields."""
    order_ids = list(reversed(shop.order(5)))
    job = create_robot_job(shop.context, order_ids, idempotency_key="K")
    assert (job.workspace_id, job.status, job.total_items, job.success_count, job.error_count, job.generation) == (
        shop.workspace_id,
        "pending",
        5,
        0,
        0,
        1,
    )
    page = jobs.get_job_with_items(shop.context, job.id)
    assert [item.order_id for item in page.items] == order_ids
    assert {(item.status, item.retry_count) for item in page.items} == {("pending", 0)}
    event = scalar(shop.connection, "SELECT args FROM public.procrastinate_jobs")
    assert event["data"] == {"job_id": str(job.id), "carrier": "coordinadora", "item_count": 5}
    assert (event["tenantid"], event["subject"]) == (str(shop.workspace_id), str(job.id))


def test_a_rolled_back_submit_leaves_nothing(shop: Shop) -> None:
    """Job, items, event and key are in the caller's transaction."""
    order_ids = shop.order(3)
    with shop.connection.transaction(force_rollback=True):
        create_robot_job(shop.context, order_ids, idempotency_key="K")
    assert made(shop.connection) == (0, 0, 0)
    create_robot_job(shop.context, order_ids, idempotency_key="K")
    assert made(shop.connection) == (1, 3, 1)


def test_an_order_may_be_in_several_jobs(shop: Shop) -> None:
    """Once in each."""
    order_ids = shop.order(2)
    assert create_robot_job(shop.context, order_ids).id != create_robot_job(shop.context, order_ids).id


def test_a_carrier_is_called_by_its_name_in_any_case(shop: Shop, portal: Portal) -> None:
    """Capitals make no difference."""
    job = create_robot_job(shop.context, shop.order(2), carrier=" Coordinadora ")
    drain_all(shop.connection)
    assert jobs.get_robot_job(shop.context, job.id).success_count == 2


def test_a_job_without_orders_is_refused(shop: Shop) -> None:
    """Nothing is created."""
    with pytest.raises(InvalidInput, match="order_ids: must name at least one order"):
        create_robot_job(shop.context, [])
    assert made(shop.connection) == (0, 0, 0)


def test_an_order_that_is_named_twice_is_refused_by_name(shop: Shop) -> None:
    """The message has its id, and nothing is created."""
    first, second, third = shop.order(3)
    with pytest.raises(InvalidInput, match=f"order_ids: 1 named more than once: {second}"):
        create_robot_job(shop.context, [first, second, third, second])
    assert made(shop.connection) == (0, 0, 0)


def test_foreign_and_missing_orders_are_named_and_nothing_is_created(shop: Shop, other: Shop) -> None:
    """They are not distinguished. The key stays free."""
    own, foreign, missing = shop.order(2), other.order(1), uuid4()
    with pytest.raises(ForeignOrders) as caught:
        create_robot_job(shop.context, [own[0], foreign[0], own[1], missing], idempotency_key="K")
    assert caught.value.order_ids == (foreign[0], missing)
    assert all(str(one) in str(caught.value) for one in (foreign[0], missing))
    assert not any(str(one) in str(caught.value) for one in own)
    assert made(shop.connection) == (0, 0, 0)
    assert create_robot_job(shop.context, own, idempotency_key="K").total_items == 2


def test_an_error_stays_readable_however_many_orders_are_wrong(shop: Shop) -> None:
    """The message has the first twenty, the error all of them."""
    mismatched = [uuid4() for _ in range(1000)]
    with pytest.raises(ForeignOrders, match="and 980 more") as caught:
        create_robot_job(shop.context, mismatched)
    assert caught.value.order_ids == tuple(mismatched)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("change", "carrier", "error", "words"),
    [
        (_leave, "dhl", NotFound, "carrier: dhl is not set up for this workspace; set up: coordinadora"),
        (_leave, "no such name", InvalidInput, "carrier: 'no such name' is not a valid name"),
        (_leave, "", InvalidInput, "carrier: '' is not a valid name"),
        (_disable, "coordinadora", CarrierDisabled, "carrier: coordinadora is disabled"),
        (_forget_the_password, "coordinadora", Conflict, "carrier: coordinadora has no credentials"),
        (_forget_the_username, "coordinadora", Conflict, "carrier: coordinadora has no credentials"),
        (_forget_the_address, "coordinadora", Conflict, "carrier: coordinadora has no credentials"),
    ],
)
def test_a_carrier_that_cannot_be_used_is_refused(
    shop: Shop, change: Callable[[Shop], None], carrier: str, error: type[Exception], words: str
) -> None:
    """Unknown, disabled, or incomplete. Nothing is created, and the key stays free."""
    order_ids = shop.order(2)
    change(shop)
    with pytest.raises(error, match=words) as caught:
        create_robot_job(shop.context, order_ids, carrier=carrier, idempotency_key="K")
    assert type(caught.value) is error
    assert made(shop.connection) == (0, 0, 0)


def test_another_workspaces_carrier_is_no_carrier_of_ours(shop: Shop, connection: Connection) -> None:
    """Accounts belong to one workspace."""
    mismatched = Shop(connection, make_workspace(connection).id)
    with pytest.raises(NotFound, match="set up: none yet"):
        create_robot_job(mismatched.context, mismatched.order(1))


@pytest.mark.parametrize("key", ["", "k" * 201, "a\nb", "a\x00b", "\ud800"])
def test_a_bad_key_is_refused(shop: Shop, key: str) -> None:
    """One to two hundred printable characters."""
    order_ids = shop.order(1)
    with pytest.raises(InvalidInput, match="idempotency_key: must be 1 to 200 printable characters"):
        create_robot_job(shop.context, order_ids, idempotency_key=key)
    assert made(shop.connection) == (0, 0, 0)


def test_a_job_is_submitted_without_a_search_path(shop: Shop) -> None:
    """Every name is qualified."""
    order_ids = shop.order(2)
    shop.connection.execute("SET search_path = ''")
    with as_service(shop.connection):
        create_robot_job(shop.context, order_ids)
    assert waiting(shop.connection) == 1
