"""Wrong versions of the program: mistakes of an author who does not think of concurrency.

Each is a context manager that puts a wrong version in place and removes it at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from app.context import Connection, Context
from app.engine.batches import counters, store
from app.engine.batches.counters import Counted
from app.engine.batches.tables import JobTable
from app.engine.dead_letters import letter_locks
from app.engine.delivery import ledger, locked, reused
from app.engine.domain import Effect
from app.engine.effects import batch
from app.engine.queue import job_manager, lease
from app.engine.queue.distinct import Ids
from app.engine.queue.job_manager import FencedManager
from app.engine.worker import rescue
from app.logistics import availability, recording, wanted
from tests.conftest import Database

Wrong = Callable[[Database], AbstractContextManager[None]]


def _patched(module: Any, **wrong: Any) -> Wrong:
    """Replace attributes of a module or class."""

    @contextmanager
    def install(_database: Database) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in wrong.items():
                patch.setattr(module, name, value)
            yield

    return install


def _edited(module: Any, name: str, right: str, wrong: str) -> Wrong:
    """Replace one part of a statement of a module."""

    @contextmanager
    def install(database: Database) -> Iterator[None]:
        statement: str = getattr(module, name)
        assert statement.count(right) == 1, f"{name} has changed: say anew what is wrong"
        with _patched(module, **{name: statement.replace(right, wrong)})(database):
            yield

    return install


def _function(name: LiteralString, edits: Mapping[str, str]) -> Wrong:
    """Replace parts of a function of the database."""

    @contextmanager
    def install(database: Database) -> Iterator[None]:
        with psycopg.connect(database.owner_url, autocommit=True) as owner:
            definition = _definition(owner, name)
            wrong = definition
            for right, instead in edits.items():
                assert wrong.count(right) == 1, f"{name} has changed: say anew what is wrong"
                wrong = wrong.replace(right, instead)
            owner.execute(wrong.encode())
            try:
                yield
            finally:
                owner.execute(definition.encode())
                assert _definition(owner, name) == definition

    return install


def _definition(owner: Connection, name: LiteralString) -> str:
    row = owner.execute("SELECT pg_get_functiondef(%s::regproc)", [name]).fetchone()
    assert row is not None
    return str(row[0])


# Counters ----------------------------------------------------------------------------------------


def _read_then_write(connection: Connection, batch: JobTable, changes: Mapping[UUID, tuple[int, int]]) -> list[Counted]:
    """Count in the program: counts that others add between the two statements are overwritten."""
    tallied = []
    for job_id, (succeeded, failed) in changes.items():
        row = connection.execute(
            "SELECT total_items, success_count, error_count FROM logistics.robot_jobs WHERE id = %s", [job_id]
        ).fetchone()
        assert row is not None
        total, before, failed_before = row
        now = (before + succeeded, failed_before + failed)
        connection.execute(
            "UPDATE logistics.robot_jobs SET success_count = %s, error_count = %s WHERE id = %s", [*now, job_id]
        )
        tallied.append(Counted(job_id, total, *now, is_done=sum(now) == total))
    return tallied


no_lock_and_counters_read_then_written = _patched(
    counters, lock=lambda _connection, _batch, job_ids: list(job_ids), count=_read_then_write
)


# Idempotency keys --------------------------------------------------------------------------------

_KEY = "robot_jobs_workspace_id_idempotency_key_key"


def _check_then_insert(  # noqa: PLR0913 - as the function in whose place it is
    context: Context,
    batch: Any,
    job_id: UUID,
    *,
    total: int,
    request: Mapping[str, Any],
    key: str | None,
    fingerprint: str,
) -> Any:
    if key is not None and store.job_by_key(context, batch, key):
        return None
    context.connection.execute(
        "INSERT INTO logistics.robot_jobs (id, workspace_id, carrier, total_items, idempotency_key,"
        " request_fingerprint) VALUES (%s, %s, %s, %s, %s, %s)",
        [job_id, context.tenant_id, request["carrier"], total, key, fingerprint],
    )
    return store.job_by_id(context, batch, job_id)


@contextmanager
def key_checked_then_inserted(database: Database) -> Iterator[None]:
    """Look a key up and then insert it, without a constraint."""
    table = sql.SQL("ALTER TABLE logistics.robot_jobs")
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        row = admin.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [_KEY]).fetchone()
        assert row is not None
        admin.execute(sql.SQL("{} DROP CONSTRAINT {}").format(table, sql.Identifier(_KEY)))
        try:
            with _patched(store, insert_job=_check_then_insert)(database):
                yield
        finally:
            admin.execute("DELETE FROM logistics.robot_jobs")
            admin.execute(sql.SQL("{} ADD CONSTRAINT {} {}").format(table, sql.Identifier(_KEY), sql.SQL(row[0])))


# Orders ------------------------------------------------------------------------------------------

orders_looked_at_then_taken = _edited(availability, "_LOCK", " FOR NO KEY UPDATE", "")
pending_orders_looked_at_then_taken = _edited(availability, "_LOCK_FREE", " FOR NO KEY UPDATE", "")


# Slots -------------------------------------------------------------------------------------------

slots_read_then_written = _function(
    "engine.take_slots",
    {
        "PERFORM pg_advisory_xact_lock(hashtextextended('engine.slots/' || p_key, 0));": "",
        # Rows of its own, so that the primary key does not save what the count does not see.
        "generate_series(1, p_most)": "generate_series(p_row_id::integer * 100, p_row_id::integer * 100 + 99)",
    },
)


# Attempts and generations ------------------------------------------------------------------------


late_results_count = _edited(recording, "_RECORD", "item.is_open AND item.retry_count = said.attempt", "item.is_open")
a_retry_is_no_new_attempt = _edited(store, "_RESET_ITEMS", "retry_count = retry_count + 1, ", "")


# Leases ------------------------------------------------------------------------------------------

_LEASE = {
    "AND j.status = 'doing' AND j.attempts = p_attempts": "",
    "AND j.worker_id IS NOT DISTINCT FROM p_worker_id": "",
}
claims_without_a_lease = _function("engine.claim", _LEASE)
_records_without_a_lease = _function("engine.hold_delivery", _LEASE)
_goes_on_without_a_lease = _edited(
    lease,
    "_HOLD",
    "AND status = 'doing' AND attempts = %(attempts)s\n   AND worker_id IS NOT DISTINCT FROM %(worker_id)s",
    "",
)


@contextmanager
def records_without_a_lease(database: Database) -> Iterator[None]:
    """Neither the record of outcomes nor a requeue looks at the lease."""
    with _records_without_a_lease(database), _goes_on_without_a_lease(database):
        yield


says_without_a_lease = _edited(
    job_manager, "_AGAIN", "AND attempts = %(attempts)s AND worker_id IS NOT DISTINCT FROM %(worker_id)s", ""
)


calls_without_a_lease = _edited(
    batch, "_CHECK", "engine.is_live(%s, %s, %s)", "num_nulls(%s::bigint, %s::integer, %s::bigint) >= 0"
)


@contextmanager
def records_and_calls_without_a_lease(database: Database) -> Iterator[None]:
    """Check no lease before recording and calling."""
    with records_without_a_lease(database), calls_without_a_lease(database):
        yield


async def _none_is_paused(_manager: FencedManager) -> frozenset[str]:
    return frozenset()


pauses_are_not_looked_up = _patched(FencedManager, _paused_queues=_none_is_paused)


# Last looks --------------------------------------------------------------------------------------

cancelled_orders_are_called = _patched(wanted, _obstacle=lambda _now: None)
carriers_are_looked_up_once_a_batch = _patched(wanted, check_account=lambda _now, _config: None)


# Delayed rows ------------------------------------------------------------------------------------

promotion_loses_rows = _function("engine.promote", {"FROM taken t;": "FROM taken t LIMIT 1;"})
promotion_comes_early = _function("engine.promote", {"WHERE d.due_at <= moment": "WHERE true"})


# Fairness ----------------------------------------------------------------------------------------


effects_are_taken_first_come_first_served = _patched(FencedManager, by_share=False)


# Rescue, replay, ledger --------------------------------------------------------------------------


@contextmanager
def rescue_selects_then_updates(database: Database) -> Iterator[None]:
    """Select stalled rows and then free them, without a lock."""
    with (
        _patched(rescue, _TRY_LOCK="SELECT true")(database),
        _edited(rescue, "_FREE", "FOR UPDATE OF j SKIP LOCKED", "")(database),
    ):
        yield


the_mark_of_a_call_belongs_to_its_event = _patched(Effect, key=lambda _effect, event: event.id)
rescues_are_counted_by_row = _edited(rescue, "_COUNT", "greatest(c.rescues + 1, excluded.rescues)", "excluded.rescues")
replays_without_a_lock = _edited(letter_locks, "_LOCK", " FOR UPDATE OF f", "")
the_ledger_takes_everything = _edited(
    ledger, "_LEDGER", "ON CONFLICT DO NOTHING", "ON CONFLICT (event_id) DO UPDATE SET event_id = excluded.event_id"
)


# Ids ---------------------------------------------------------------------------------------------

ids_collide_silently = _patched(Ids, add=lambda _ids, _events, _texts: None)
the_ledger_compares_no_data = _edited(
    reused, "_OTHER_FACTS", "(l.type, l.tenant_id, l.data) IS DISTINCT FROM (e.type, e.tenantid, e.data)", "false"
)
one_of_an_id_in_a_batch_is_dropped = _patched(reused, same_fact=lambda _one, _other: True)
a_dead_letter_is_resolved_by_any_event_with_its_id = _edited(
    ledger, "_LEDGER", "IS DISTINCT FROM (e.type, e.tenantid::text, e.data)", "IS NULL"
)


# Locks -------------------------------------------------------------------------------------------

what_is_locked_takes_its_batch_along = _patched(
    locked, find_locked=lambda _, letters: locked.Found({locked.LockTarget("", None): list(letters)}, set())
)
