"""Explain robot jobs, items and workspaces: reasons of carriers and results."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from app.context import Connection
from app.engine.batches.explainers import ItemFailed, Lost
from app.engine.inspect.reasons import Reason
from app.errors import NotFound
from app.logistics import carriers, jobs
from app.logistics.reasons import CarrierDisabled, ItemShipped, JobEnded, NoCredentials, SessionsBusy
from app.simulators.portal import Portal
from tests.helpers.explained import explain_item, explain_job, explain_workspace
from tests.helpers.factories import make_workspace
from tests.helpers.health_fixtures import enlist
from tests.helpers.operators import work_once
from tests.helpers.shops import Shop, equip
from tests.helpers.support import drain, drain_all, scalar


@pytest.fixture(autouse=True)
def _worker(connection: Connection) -> None:
    """A live worker that serves every queue."""
    enlist(connection)


def kinds(reasons: list[Reason]) -> list[str]:
    """Return the kinds of reasons, in their order. Checks that every reason has a sentence."""
    assert all(reason.sentence for reason in reasons)
    return [reason.kind for reason in reasons]


def items(shop: Shop, job_id: UUID) -> list[UUID]:
    """Return the ids of a job's items."""
    return [item.id for item in jobs.get_job_with_items(shop.context, job_id).items]


def test_a_job_that_was_just_submitted_waits_with_its_event_and_so_do_its_items(shop: Shop) -> None:
    """The items are not requested yet."""
    job = jobs.create_robot_job(shop.context, shop.order(2))
    assert kinds(explain_job(shop.connection, job.id)) == ["waiting"]
    (item, _) = items(shop, job.id)
    assert explain_item(shop.connection, item) == explain_job(shop.connection, job.id)


def test_requested_items_wait_with_their_own_events(shop: Shop) -> None:
    """The reasons of a job are those of all its items."""
    job = jobs.create_robot_job(shop.context, shop.order(30))
    drain(queues=["events"])
    (reason,) = explain_job(shop.connection, job.id)
    assert (reason.kind, getattr(reason, "events", 0)) == ("waiting", 30)
    (reason,) = explain_item(shop.connection, items(shop, job.id)[0])
    assert (reason.kind, getattr(reason, "events", 0), getattr(reason, "queue", "")) == ("waiting", 1, "robots")


def test_an_ended_job_and_its_items_have_their_results(shop: Shop) -> None:
    """The number, or the error with the command that retries it; the job's counters."""
    good, bad = shop.order(1), shop.order(1, city="Leticia", department="Amazonas")
    job = jobs.create_robot_job(shop.context, [*good, *bad])
    drain_all(shop.connection)
    (ended,) = explain_job(shop.connection, job.id)
    assert isinstance(ended, JobEnded)
    assert (ended.status, ended.success_count, ended.error_count) == ("completed", 1, 1)
    (shipped,), (failed,) = (explain_item(shop.connection, item) for item in items(shop, job.id))
    assert isinstance(shipped, ItemShipped)
    assert shipped.tracking_number == scalar(
        shop.connection, "SELECT tracking_number FROM logistics.orders WHERE id = %s", good[0]
    )
    assert isinstance(failed, ItemFailed)
    assert (failed.error_type, failed.attempt) == ("validation", 0)
    assert f"jobs retry {job.id} --item {failed.item_id}" in failed.sentence
    assert kinds([ended, shipped, failed]) == ["done", "done", "item_failed"]


def test_an_unusable_carrier_is_a_reason(shop: Shop) -> None:
    """Disabled, incomplete, or removed: for job, items and workspace."""
    job = jobs.create_robot_job(shop.context, shop.order(1))
    (item,) = items(shop, job.id)
    asked = (
        (explain_job, job.id),
        (explain_item, item),
        (explain_workspace, shop.workspace_id),
    )
    carriers.disable_carrier(shop.context, "coordinadora")
    for explain, about in asked:
        found = explain(shop.connection, about)
        assert found[0] == CarrierDisabled(shop.workspace_id, "coordinadora")
        assert kinds(found) == ["carrier_disabled", "waiting"]
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_password = NULL")
    for explain, about in asked:
        found = explain(shop.connection, about)
        assert found[0] == NoCredentials(shop.workspace_id, "coordinadora")
        assert kinds(found) == ["no_credentials", "carrier_disabled", "waiting"]
    shop.connection.execute("DELETE FROM logistics.carrier_configs")
    assert kinds(explain_job(shop.connection, job.id)) == ["no_credentials", "waiting"]


def test_busy_sessions_name_the_carrier(shop: Shop) -> None:
    """With the number of sessions in use, without the limit's key."""
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=1)
    key = f"portal/{carriers.show_carrier(shop.context, 'coordinadora').id}"
    holder = scalar(
        shop.connection,
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, status) VALUES ('robots', 'perform', 'doing')"
        " RETURNING id",
    )
    shop.connection.execute(
        "UPDATE public.procrastinate_jobs SET worker_id = (SELECT min(id) FROM procrastinate_workers)"
    )
    shop.connection.execute(
        "SELECT engine.take_slots(%s, 1, 1, id, 0, worker_id) FROM public.procrastinate_jobs WHERE id = %s",
        [key, holder],
    )
    job = jobs.create_robot_job(shop.context, shop.order(2))
    drain(queues=["events"])
    work_once(queues=["robots"])
    (reason,) = explain_job(shop.connection, job.id)
    assert isinstance(reason, SessionsBusy)
    assert (reason.events, reason.carrier, reason.held, reason.max_sessions) == (2, "coordinadora", 1, 1)
    assert kinds([reason]) == ["sessions_busy"]


def test_a_dead_request_is_a_reason(shop: Shop, connection: Connection) -> None:
    """For the job and for the item."""
    job = jobs.create_robot_job(shop.context, shop.order(1))
    drain(queues=["events"])
    connection.execute(
        "UPDATE public.procrastinate_jobs SET args = jsonb_set(args, '{events,0,tenantid}', %s)", [Jsonb(str(uuid4()))]
    )
    drain_all(connection)
    assert kinds(explain_job(connection, job.id)) == ["dead"]
    assert kinds(explain_item(connection, items(shop, job.id)[0])) == ["dead"]


def test_an_open_item_without_an_event_is_lost(shop: Shop, connection: Connection) -> None:
    """This violates an invariant."""
    job = jobs.create_robot_job(shop.context, shop.order(1))
    connection.execute("DELETE FROM public.procrastinate_jobs")
    assert explain_job(connection, job.id) == [Lost()]
    assert explain_item(connection, items(shop, job.id)[0]) == [Lost()]
    assert kinds([Lost()]) == ["lost"]


def test_a_workspace_has_only_its_own_reasons(shop: Shop, portal: Portal, connection: Connection) -> None:
    """Other workspaces have waiting events."""
    other = equip(connection, make_workspace(connection).id, portal)
    jobs.create_robot_job(other.context, other.order(1))
    drain(queues=["events"])
    assert explain_workspace(connection, shop.workspace_id) == []
    assert kinds(explain_workspace(connection, other.workspace_id)) == ["waiting"]


@pytest.mark.parametrize("explain", [explain_job, explain_item])
def test_an_unknown_id_is_not_found(connection: Connection, explain: object) -> None:
    """The message has the id and the remedy."""
    assert callable(explain)
    with pytest.raises(NotFound, match=f"there is no .*{UUID(int=1)}.*`jobs "):
        explain(connection, UUID(int=1))
