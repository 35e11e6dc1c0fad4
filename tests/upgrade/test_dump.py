"""A database of an earlier version with work of every kind is migrated, and the work is finished.

README.md describes the database.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app import database as doors
from app.context import Connection, Context
from app.engine.dead_letters import letters, manage, plan, replay
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace
from app.engine.inspect.explain import explain_event
from app.engine.inspect.invariants import audit
from app.engine.inspect.reasons import Reason
from app.engine.queue import pauses
from app.logistics import carriers
from app.postgres.embedded import Embedded
from app.program import INVARIANTS
from app.schema import migrate
from app.settings import settings
from app.simulators.portal import OrderForm, Portal
from app.testing.database import Database
from tests.helpers.explained import explain_item, explain_job, explain_workspace
from tests.helpers.support import drain, drain_all, scalar, working

HERE = Path(__file__).parent
SHOPS = [UUID(f"00000000-0000-4000-8000-00000000002{n}") for n in (1, 2)]
NEED_LETTERS = {"dead in doubt", "dead result"}
"""Jobs that end only when dead letters are replayed."""


@pytest.fixture
def old(server: Embedded, portal: Portal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Database]:
    """The dump in its own database, set in the program's environment, not migrated yet."""
    name = f"upgrade_{uuid4().hex}"
    for form in json.loads((HERE / "0ca1f1c.portal.json").read_text()):
        portal.record.accept("demo", OrderForm(**form), time.time())
    with psycopg.connect(server.superuser_url, autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE DATABASE {} OWNER tallyman_owner").format(sql.Identifier(name)))
        urls = (server.service_url, server.owner_url, server.superuser_url)
        made = Database(name, *(make_conninfo(url, dbname=name) for url in urls))
        try:
            with psycopg.connect(made.owner_url) as owner:
                owner.execute((HERE / "0ca1f1c.sql").read_bytes())
            for variable, value in {**made.environment(str(tmp_path)), "TALLYMAN_PORTAL_SETTLE": "0"}.items():
                monkeypatch.setenv(variable, value)
            settings.cache_clear()
            yield made
        finally:
            settings.cache_clear()
            superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def connection(old: Database, portal: Portal) -> Iterator[Connection]:
    """A connection to the migrated database, whose accounts lead to the simulated portal."""
    migrate.migrate(old.owner_url)
    with doors.connect(old.url, autocommit=True) as opened:
        for shop in SHOPS:
            carriers.set_carrier(Context.start(opened, shop), "coordinadora", portal_url=portal.url)
        yield opened


def jobs(connection: Connection) -> dict[str, tuple[Any, ...]]:
    """Return status, generation, total, successes and errors of each job, by its idempotency key."""
    statement = """SELECT idempotency_key, status, generation, total_items, success_count, error_count
                     FROM logistics.robot_jobs"""
    return {key: rest for key, *rest in connection.execute(statement)}


def job_id(connection: Connection, name: str) -> UUID:
    """Return the id of a job."""
    found: UUID = scalar(connection, "SELECT id FROM logistics.robot_jobs WHERE idempotency_key = %s", name)
    return found


def broken(connection: Connection) -> list[tuple[str, object]]:
    """Return the violated invariants with their rows."""
    return [(one.name, one.rows) for one in audit(connection, INVARIANTS) if not one.holds]


def resume(connection: Connection) -> None:
    """Resume the robots' queue."""
    pauses.resume(connection, "robots", actor="ana")


def entries(connection: Connection, portal: Portal) -> Counter[UUID]:
    """Return the number of entries in the portal for each order of a job."""
    by_item = dict(connection.execute("SELECT id, order_id FROM logistics.robot_job_items").fetchall())
    return Counter(by_item[UUID(entry.form.reference.rpartition("-")[0])] for entry in portal.record.entries)


def test_the_work_is_finished(connection: Connection, portal: Portal) -> None:
    """Every order is entered once, every job completes, and all invariants hold at each stage."""
    assert broken(connection) == []
    before = len(portal.record.entries)
    drain(queues=["events"])
    assert (broken(connection), len(portal.record.entries)) == ([], before)
    resume(connection)
    drain_all(connection)
    assert broken(connection) == []
    open_ = {name for name, (status, *_) in jobs(connection).items() if status != "completed"}
    assert open_ == NEED_LETTERS
    with_letters(connection)
    assert broken(connection) == []
    found = jobs(connection)
    assert {name: (status, errors) for name, (status, _, _, _, errors) in found.items()} == dict.fromkeys(
        found, ("completed", 0)
    )
    assert all(successes == total for _, _, total, successes, _ in found.values())
    assert {name for name, (_, generation, *_) in found.items() if generation == 2} == {"second generation"}
    orders = {order for (order,) in connection.execute("SELECT order_id FROM logistics.robot_job_items")}
    assert entries(connection, portal) == dict.fromkeys(orders, 1)
    numbers = connection.execute("SELECT tracking_number FROM logistics.robot_job_items").fetchall()
    assert Counter(number for (number,) in numbers) == Counter(e.tracking_number for e in portal.record.entries)


def with_letters(connection: Connection) -> None:
    """Replay the plans from before the upgrade, then the rest in a new plan."""
    old = [plan_id for (plan_id,) in connection.execute("SELECT id FROM engine.replay_plans ORDER BY created_at")]
    assert [replayed(connection, plan_id) for plan_id in old] == [{"applied": 2}, {"applied": 1}]
    new = plan.make(connection, Filters(), actor="ana")
    assert Counter(one.class_ for one in plan.letters(connection, new.id)) == {"invalid": 2, "blocked": 1, "valid": 1}
    assert replayed(connection, new.id) == {"applied": 1}


def replayed(connection: Connection, plan_id: UUID) -> dict[str, int]:
    """Replay a plan beside a worker. Returns the outcomes."""
    with working(settings().database_url or ""):
        done = replay.run(
            connection, plan.find(connection, plan_id), Pace(), actor="ana", reason="upgraded", show=lambda _: None
        )
    assert (done.stopped, done.timed_out) == (None, False)
    return {kind: count for kind, count in done.outcomes.items() if count}


def kinds(reasons: list[Reason]) -> set[str]:
    """Return the kinds of reasons, without those about missing workers."""
    return {reason.kind for reason in reasons} - {"no_worker"}


def test_explain_has_reasons_for_old_rows(connection: Connection) -> None:
    """Each kind, by job, item, event and workspace."""
    found = {name: kinds(explain_job(connection, job_id(connection, name))) for name in jobs(connection)}
    assert found == {
        "done": {"done"},
        "dead in doubt": {"dead"},
        "edited in doubt": {"queue_paused", "waiting"},
        "dead result": {"dead", "waiting"},
        "second generation": {"queue_paused", "put_back", "in_doubt"},
        "results wait": {"waiting"},
        "in doubt, rescued": {"queue_paused", "waiting", "in_doubt"},
        "in doubt, in hand": {"in_hand"},
        "begun": {"in_hand"},
        "parked": {"queue_paused", "sessions_busy"},
        "requested": {"queue_paused", "waiting"},
        "submitted": {"waiting"},
        "submitted too": {"waiting"},
    }
    items = connection.execute(
        "SELECT j.idempotency_key, i.id FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id"
    ).fetchall()
    assert {name for name, item in items if "lost" in kinds(explain_item(connection, item))} == set()
    for letter in letters.select(connection, Filters()):
        if letter.event_id is not None:
            assert "dead" in kinds(explain_event(connection, letter.event_id))
    applied: UUID = scalar(connection, "SELECT event_id FROM engine.event_log LIMIT 1")
    assert kinds(explain_event(connection, applied)) == {"done"}
    assert {"dead", "in_hand", "waiting", "put_back"} <= kinds(explain_workspace(connection, SHOPS[0]))


def test_letters_are_read_and_edited(connection: Connection) -> None:
    """All are listed with their history. An edited one names its copy."""
    found = letters.select(connection, Filters(resolved=None))
    open_ = Counter(letter.error_class for letter in found if letter.resolved_at is None)
    assert open_ == {"GuiltyEvents": 1, "InvalidEvent": 2, "KilledItsWorkers": 1, "MendedSince": 2}
    assert [letter.error_class for letter in found if letter.replaced_by is not None] == ["KilledItsWorkers"]
    assert {letter.notes for letter in found if letter.job_type == "depot/closed"} == {"ask the other team"}
    assert all(letters.find(connection, letter.id) == letter for letter in found)
    (in_doubt,) = letters.select(connection, Filters(error_class="KilledItsWorkers"))
    manage.edit(connection, in_doubt.id, manage.current_data(in_doubt), reason="x", actor="ana")
    resume(connection)
    drain_all(connection)
    assert jobs(connection)["dead in doubt"][0] == "completed"
    assert broken(connection) == []
