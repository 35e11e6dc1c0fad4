"""Races of two transactions, directed: the second begins before the first has committed, in both orders.

Many submits with one key are tested in `tests/logistics/test_keys.py`, the same results recorded many times in
`test_delivered_results.py`, concurrent retries in `test_retry.py`, concurrent replays of one plan in
`tests/engine/dead_letters/test_replay.py`, and pauses during deliveries in `tests/engine/queue/test_pauses.py`. Each
test here also finds a seeded bug: see `test_seeded_bugs.py`.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

import events
from app.context import Connection
from app.engine.batches.retry import revive
from app.engine.delivery.apply import apply
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.publish import publish
from app.errors import Conflict, DuplicateRequest, KeyReused
from app.logistics.jobs import AlreadyTaken, create_robot_job, get_robot_job, retry_failed_items, update_job_status
from app.logistics.order_changes import update_order
from app.logistics.store import ROBOT_JOBS, RobotJob
from app.logistics.submit import submit_pending
from events.robot import ItemRequested
from tests.helpers import toy
from tests.helpers.faults.race import Race, completions, items, submitted
from tests.helpers.faults.snapshot import broken, snapshot
from tests.helpers.robot_results import failure, success, update_job_item_result
from tests.helpers.support import scalar

# Producers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False])
def test_a_second_submit_with_a_key_is_refused(race: Race, *, same: bool) -> None:
    """It waits for the commit of the first and creates nothing, for the same orders and for others."""
    orders = race.stage.shop.order(2)
    refused = DuplicateRequest if same else KeyReused

    def submit(connection: Connection, order: UUID) -> RobotJob | UUID:
        try:
            return create_robot_job(race.context(connection), [order], idempotency_key="K")
        except refused as error:
            return error.job_id

    made, told = race.behind(
        lambda connection: submit(connection, orders[0]),
        lambda connection: submit(connection, orders[0 if same else 1]),
    )
    assert isinstance(made, RobotJob)
    assert told == made.id
    assert scalar(race.stage.connection, "SELECT count(*) FROM logistics.robot_jobs") == 1


@pytest.mark.parametrize("again", [True, False])
def test_a_second_submit_of_an_order_is_refused_without_again(race: Race, *, again: bool) -> None:
    """It waits for the first, with or without `again`. The error names the orders, and there is no deadlock."""
    orders = race.stage.shop.order(3)
    backwards = list(reversed(orders))

    def submit(connection: Connection) -> RobotJob | tuple[UUID, ...]:
        try:
            return create_robot_job(race.context(connection), backwards, again=False)
        except AlreadyTaken as error:
            return error.order_ids

    _, told = race.behind(
        lambda connection: create_robot_job(race.context(connection), orders[:2], again=again), submit
    )
    assert told == tuple(orders[:2])
    assert scalar(race.stage.connection, "SELECT count(*) FROM logistics.robot_jobs") == 1


def test_concurrent_submits_of_pending_orders_share_them(race: Race) -> None:
    """The second takes the orders that the first has not, here none, and names the first's job."""
    orders = race.stage.shop.order(3)
    first, second = race.behind(
        lambda connection: submit_pending(race.context(connection)),
        lambda connection: submit_pending(race.context(connection)),
    )
    assert first.job is not None
    assert first.job.total_items == len(orders)
    assert (second.job, second.in_open_jobs) == (None, {first.job.id: 3})


def test_an_order_whose_item_is_retried_is_not_pending(race: Race) -> None:
    """The submit waits for the commit of the retry and leaves the order to it."""
    job, (item,) = submitted(race.stage, 1)
    update_job_item_result(race.stage.shop.context, failure(item))
    retried, pending = race.behind(
        lambda connection: retry_failed_items(race.context(connection), job).items,
        lambda connection: submit_pending(race.context(connection)),
    )
    assert (retried, pending.job, pending.in_open_jobs) == (1, None, {job: 1})


def test_an_order_whose_dead_request_is_revived_is_not_pending(race: Race) -> None:
    """The item had failed: the submit waits for the commit of the replay and leaves the order to it."""
    job, (item,) = submitted(race.stage, 1)
    update_job_item_result(race.stage.shop.context, failure(item))
    asked = ItemRequested(job_id=job, item_id=item.id, order_id=item.order_id, carrier="coordinadora", attempt=0)
    dead = events.new(asked, now=race.stage.shop.context.now, subject=job, tenant=race.stage.shop.workspace_id)
    revived, pending = race.behind(
        lambda connection: revive(race.context(connection), ROBOT_JOBS, [dead]),
        lambda connection: submit_pending(race.context(connection)),
    )
    assert (list(revived), pending.job, pending.in_open_jobs) == ([dead.id], None, {job: 1})


def test_concurrent_changes_of_an_order_have_the_right_old_values(race: Race) -> None:
    """The second waits, and starts from the values of the first."""
    (order,) = race.stage.shop.order(1)

    def change(connection: Connection, city: str) -> None:
        update_order(race.context(connection), order, city=city)

    race.behind(lambda connection: change(connection, "Tunja"), lambda connection: change(connection, "Pasto"))
    said = "SELECT args -> 'data' -> 'before', args -> 'data' -> 'after' FROM public.procrastinate_jobs ORDER BY id"
    assert race.stage.connection.execute(said).fetchall() == [
        ({"city": "Bogotá"}, {"city": "Tunja"}),
        ({"city": "Tunja"}, {"city": "Pasto"}),
    ]


# Results -----------------------------------------------------------------------------------------


def test_concurrent_last_results_complete_a_job_once(race: Race) -> None:
    """No count is overwritten, and exactly one of the two completes the job."""
    job, (one, two) = submitted(race.stage, 2)
    race.behind(
        lambda connection: update_job_item_result(race.context(connection), success(one)),
        lambda connection: update_job_item_result(race.context(connection), failure(two)),
    )
    after = get_robot_job(race.stage.shop.context, job)
    assert (after.status, after.success_count, after.error_count) == ("completed", 1, 1)
    assert completions(race.stage, job) == [1]
    assert broken(race.stage.connection) == []


@pytest.mark.parametrize("succeeded", [True, False])
def test_the_first_of_two_contrary_results_counts(race: Race, *, succeeded: bool) -> None:
    """The second is late and changes neither item nor counters."""
    job, (item, _) = submitted(race.stage, 2)
    said = [success(item), failure(item)] if succeeded else [failure(item), success(item)]
    first, second = race.behind(
        lambda connection: update_job_item_result(race.context(connection), said[0]),
        lambda connection: update_job_item_result(race.context(connection), said[1]),
    )
    assert (first.counted, second.counted, second.late) == (1, 0, 1)
    assert items(race.stage, job)[0].status == said[0].status
    assert broken(race.stage.connection) == []


def test_an_event_of_two_workers_is_applied_once(race: Race) -> None:
    """The second waits for the commit of the first and finds the event in the ledger."""
    publish(race.stage.connection, toy.say("once"))
    text = scalar(race.stage.connection, "DELETE FROM public.procrastinate_jobs RETURNING args::text")

    def hear(connection: Connection) -> int:
        with connection.transaction():
            return apply(connection, open_rows([Row(0, text)]))

    assert race.behind(hear, hear) == (1, 0)
    assert snapshot(race.stage.connection)[0].heard == {"once": 1}


# Retry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late_first", [True, False])
def test_a_late_result_does_not_count_for_a_retry(race: Race, *, late_first: bool) -> None:
    """In both orders, the result of the previous attempt does not count for the next one."""
    job, (item, other) = submitted(race.stage, 2)
    update_job_item_result(race.stage.shop.context, failure(item))

    def retry(connection: Connection) -> int:
        return retry_failed_items(race.context(connection), job).items

    def result(connection: Connection) -> int:
        return update_job_item_result(race.context(connection), success(item)).counted

    outcomes: Any = race.behind(result, retry) if late_first else race.behind(retry, result)
    assert outcomes == ((0, 1) if late_first else (1, 0))
    again = items(race.stage, job)[0]
    assert (again.status, again.retry_count) == ("pending", 1)
    update_job_item_result(race.stage.shop.context, success(other))
    assert update_job_item_result(race.stage.shop.context, success(again)).counted == 1
    assert completions(race.stage, job) == [2]
    assert broken(race.stage.connection) == []


@pytest.mark.parametrize("result_first", [True, False])
def test_a_retry_and_the_last_result_agree_on_the_generation(race: Race, *, result_first: bool) -> None:
    """The job is completed before the retry and again after it, or only after it."""
    job, (bad, last) = submitted(race.stage, 2)
    update_job_item_result(race.stage.shop.context, failure(bad))

    def retry(connection: Connection) -> int:
        return retry_failed_items(race.context(connection), job).items

    def result(connection: Connection) -> int:
        return update_job_item_result(race.context(connection), success(last)).counted

    outcomes: Any = race.behind(result, retry) if result_first else race.behind(retry, result)
    assert outcomes == (1, 1)
    assert get_robot_job(race.stage.shop.context, job).status == "processing"
    update_job_item_result(race.stage.shop.context, success(items(race.stage, job)[0]))
    assert completions(race.stage, job) == ([1, 2] if result_first else [2])
    assert broken(race.stage.connection) == []


@pytest.mark.parametrize("by_hand_first", [True, False])
def test_ending_a_job_by_hand_and_its_last_result(race: Race, *, by_hand_first: bool) -> None:
    """The result counts in both orders, the counters decide the final status, and the job completes once."""
    job, (item,) = submitted(race.stage, 1)

    def end(connection: Connection) -> str:
        try:
            return update_job_status(race.context(connection), job, "failed").status
        except Conflict:
            return "conflict"

    def result(connection: Connection) -> int:
        return update_job_item_result(race.context(connection), success(item)).counted

    outcomes: Any = race.behind(end, result) if by_hand_first else race.behind(result, end)
    assert outcomes == (("failed", 1) if by_hand_first else (1, "conflict"))
    assert get_robot_job(race.stage.shop.context, job).status == "completed"
    assert completions(race.stage, job) == [1]
    assert broken(race.stage.connection) == []
