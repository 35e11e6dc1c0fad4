"""Lock order: calls, the ledger, dead letters, jobs, items, orders; also of decisions about a dead letter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

import pytest
from psycopg.errors import DeadlockDetected, LockNotAvailable

import events
from app import database as doors
from app.context import Connection, Context
from app.engine.dead_letters import manage
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.as_done import resolve_as_done
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.redeliver import redeliver
from app.engine.delivery.apply import apply
from app.engine.delivery.engine import Engine
from app.engine.effects import claim
from app.engine.queue.envelope import QueuedEvent, Row, open_rows
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import put_back
from app.errors import Conflict
from app.logistics import cancel, jobs, rules
from events import Event
from events.robot import ItemCompleted
from tests.conftest import Database
from tests.helpers.robot_results import broken, items_of, update_job_item_results
from tests.helpers.sealing_keys import lose_the_key
from tests.helpers.shops import Shop
from tests.helpers.support import drain, scalar
from tests.helpers.waits import LIMIT_S, SOMEBODY_WAITS, until_somebody_waits

Act = Callable[[Connection], object]

_ENTER = """
INSERT INTO engine.event_log (event_id, type, version, tenant_id, subject_id, data, occurred_at)
VALUES (%s, 'robot/item.requested', 1, NULL, NULL, '{}', now()) ON CONFLICT DO NOTHING
"""
_CALL = """
INSERT INTO engine.calls (call_key, event_id, row_id, attempts) VALUES (%s, gen_random_uuid(), 0, 0)
ON CONFLICT (call_key) DO UPDATE SET row_id = 0
"""
_TAKE = "UPDATE public.procrastinate_jobs SET status = 'doing' WHERE queue_name = 'robots' RETURNING id"
LEVELS: dict[str, LiteralString] = {
    "call": _CALL,
    "ledger": _ENTER,
    "letter": "SELECT FROM engine.failed_jobs WHERE id = %s FOR UPDATE",
    "job": "SELECT FROM logistics.robot_jobs WHERE id = %s FOR UPDATE",
    "item": "SELECT FROM logistics.robot_job_items WHERE id = %s FOR UPDATE",
    "order": "SELECT FROM logistics.orders WHERE id = %s FOR NO KEY UPDATE",
}
"""What a transaction takes, in the order of the program, and the statement that takes it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A job of one order with a dead request, and all concurrent actions on it."""

    shop: Shop
    job_id: UUID
    item_id: UUID
    order_id: UUID
    letter_id: UUID
    letter: QueuedEvent
    plan: list[plans.PlanLetter]

    @property
    def event(self) -> Event[Any]:
        """Return the dead request."""
        assert isinstance(self.letter.event, Event)
        return self.letter.event

    def hold(self, connection: Connection, level: str) -> None:
        """Lock the scenario's row of a level."""
        ids = {
            "call": rules.request_id(self.item_id, 0),
            "ledger": self.event.id,
            "letter": self.letter_id,
            "job": self.job_id,
            "item": self.item_id,
            "order": self.order_id,
        }
        connection.execute(LEVELS[level], [ids[level]])

    def acts(self) -> dict[str, Act]:
        """Return the actions on the letter, its item, its job and its order."""
        return {
            "replay": lambda connection: redeliver(connection, self.plan),
            "discard": lambda connection: manage.discard(connection, [self.letter_id], note="no", actor="ana"),
            "edit": lambda connection: manage.edit(
                connection, self.letter_id, self.event.data.model_dump(mode="json"), reason="typo", actor="ana"
            ),
            "resolve as done": lambda connection: resolve_as_done(
                connection, self.letter_id, {"status": "success", "tracking_number": "7"}, note="seen", actor="ana"
            ),
            "record": lambda connection: jobs.record_item(
                self.context(connection), self.item_id, actor="ana", reason="seen", tracking_number="7"
            ),
            "cancel job": lambda connection: jobs.cancel_job(
                self.context(connection), self.job_id, actor="ana", reason="no"
            ),
            "retry job": lambda connection: jobs.retry_failed_items(self.context(connection), self.job_id),
            "cancel order": lambda connection: cancel.cancel_orders(self.context(connection), [self.order_id]),
            "deliver the result": lambda connection: apply(connection, [self._result()]),
        }

    def context(self, connection: Connection) -> Context:
        """Return the shop's context on another connection."""
        return Context.start(connection, self.shop.workspace_id)

    def _result(self) -> QueuedEvent:
        said = ItemCompleted(job_id=self.job_id, item_id=self.item_id, attempt=0, status="success", tracking_number="8")
        event = events.new(said, now=datetime.now(UTC), subject=self.job_id, tenant=self.shop.workspace_id)
        return QueuedEvent(0, 0, event.model_dump(mode="json", exclude_none=True), event)


ACTS = (
    "replay",
    "discard",
    "edit",
    "resolve as done",
    "record",
    "cancel job",
    "retry job",
    "cancel order",
    "deliver the result",
)


@pytest.fixture
def scenario(connection: Connection, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """A scenario."""
    lose_the_key(connection, monkeypatch, shop)
    job = jobs.create_robot_job(shop.context, shop.order(1))
    drain()
    (item,) = items_of(shop, job.id)
    plan = plans.letters(connection, plans.make(connection, Filters(), actor="ana").id)
    letter = open_rows([Row(0, scalar(connection, "SELECT event_data::text FROM engine.failed_jobs"))])[0]
    return Scenario(shop, job.id, item.id, item.order_id, plan[0].letter_id, letter, plan)


@pytest.fixture
def crowd(database: Database) -> Iterator[list[Connection]]:
    """Four more connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(doors.connect(database.url, autocommit=True)) for _ in range(4)]


def undone(connection: Connection, act: Act) -> None:
    """Run an action and roll it back, so that the next one finds the same scenario. A refusal is accepted."""
    with connection.transaction(force_rollback=True), suppress(Conflict):
        act(connection)


def until_it_waits(connection: Connection, running: Future[Any], least: int = 1) -> bool:
    """Wait until a number of sessions wait for a lock. Returns False if the action ended without waiting."""
    while not running.done():
        if len(connection.execute(SOMEBODY_WAITS).fetchall()) >= least:
            return True
    return False


def is_free(connection: Connection, scenario: Scenario, level: str) -> bool:
    """Return whether the row of a level is free."""
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL lock_timeout = '50ms'")
        try:
            scenario.hold(connection, level)
        except LockNotAvailable:
            return False
    return True


@pytest.mark.parametrize("name", ACTS)
def test_a_waiting_action_holds_no_later_lock(scenario: Scenario, crowd: list[Connection], name: str) -> None:
    """At each level all later levels are free."""
    holder, acting, probing, _ = crowd
    act = scenario.acts()[name]
    wrong: list[tuple[str, str]] = []
    for n, level in enumerate(LEVELS):
        with ThreadPoolExecutor(1) as threads:
            with holder.transaction(force_rollback=True):
                scenario.hold(holder, level)
                running = threads.submit(undone, acting, act)
                if until_it_waits(probing, running):
                    wrong += [
                        (level, later) for later in list(LEVELS)[n + 1 :] if not is_free(probing, scenario, later)
                    ]
            running.result(LIMIT_S)
    assert wrong == []


@pytest.mark.parametrize("first", ACTS)
def test_no_two_actions_deadlock(scenario: Scenario, crowd: list[Connection], first: str) -> None:
    """Whatever a third session holds when both begin, both end after its release."""
    holder, one, two, probing = crowd
    acts = scenario.acts()
    deadlocks: list[tuple[str, str]] = []
    for second in ACTS:
        for level in ("letter", "job", "item", "order"):
            with ThreadPoolExecutor(2) as threads:
                with holder.transaction(force_rollback=True):
                    scenario.hold(holder, level)
                    running = [threads.submit(undone, one, acts[first])]
                    waiting = until_it_waits(probing, running[0])
                    running.append(threads.submit(undone, two, acts[second]))
                    until_it_waits(probing, running[1], 1 + waiting)
                if any(isinstance(done.exception(LIMIT_S), DeadlockDetected) for done in running):
                    deadlocks.append((second, level))
                else:
                    [done.result(LIMIT_S) for done in running]
    assert deadlocks == []


@pytest.mark.parametrize("name", ["replay", "discard", "edit", "resolve as done"])
def test_a_delivery_of_another_copy_comes_first(
    database: Database, scenario: Scenario, crowd: list[Connection], name: str
) -> None:
    """It has its call and waits for its item, enters the event, and resolves the letter.

    A decision about the letter waits for the call, and then finds the letter resolved.
    """
    holder, acting, probing, _ = crowd
    failed = ItemCompleted(
        job_id=scenario.job_id,
        item_id=scenario.item_id,
        attempt=0,
        status="error",
        error_type="portal",
        error_message="no",
    )
    update_job_item_results(scenario.shop.context, [failed])
    put_back(probing, [(scenario.event, scenario.letter.raw)], delay=0, attempt=0)
    row_id = scalar(probing, _TAKE)
    with ThreadPoolExecutor(2) as threads, doors.pool(address=database.url) as pool:
        with holder.transaction():
            scenario.hold(holder, "item")
            delivered = threads.submit(claim.claim, Engine(pool), Delivery(row_id, 0, None))
            until_somebody_waits(probing)
            decided = threads.submit(outcome, acting, scenario.acts()[name])
            until_somebody_waits(probing, 2)
        assert delivered.result(LIMIT_S) is None
        assert decided.result(LIMIT_S) in {"skipped", "refused"}
    assert scalar(probing, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 0
    assert scalar(probing, "SELECT count(*) FROM engine.event_log WHERE event_id = %s", scenario.event.id) == 1
    assert scalar(probing, "SELECT count(*) FROM engine.calls") == 0
    assert broken(probing) == []


def outcome(connection: Connection, act: Act) -> str:
    """Return the outcome of a decision."""
    try:
        with connection.transaction():
            done = act(connection)
    except Conflict:
        return "refused"
    return done[0].outcome or "awaited" if isinstance(done, list) else "done"


@pytest.mark.parametrize("name", ["discard", "edit", "resolve as done", "record", "cancel job"])
def test_a_replay_behind_a_decision_skips_the_letter(scenario: Scenario, crowd: list[Connection], name: str) -> None:
    """What it entered into the ledger is rolled back, and no mark of a call is left."""
    deciding, replaying, probing, _ = crowd
    with ThreadPoolExecutor(1) as threads:
        with deciding.transaction():
            scenario.acts()[name](deciding)
            replayed = threads.submit(outcome, replaying, scenario.acts()["replay"])
            until_somebody_waits(probing)
        assert replayed.result(LIMIT_S) == "skipped"
    assert scalar(probing, "SELECT count(*) FROM engine.failed_jobs WHERE replay_count > 0") == 0
    assert scalar(probing, "SELECT retry_count FROM logistics.robot_job_items") == 0
    assert scalar(probing, "SELECT count(*) FROM engine.calls WHERE row_id = 0") == 0
    assert broken(probing) == []
