"""Explain why collection runs, pages and items wait. Adds the reasons of runs and accounts to the engine's.

These functions are for operators: they read the rows of all organisations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from app.collection import rules, store
from app.collection.accounts import limit_key
from app.collection.reasons import (
    AccountResting,
    AccountUnusable,
    Budget,
    CallsBusy,
    ItemEnded,
    NoPlace,
    PageEnded,
    RunEnded,
    RunPaused,
)
from app.collection.store import Run
from app.context import Connection
from app.engine.batches.explainers import Lost
from app.engine.effects import cooldowns
from app.engine.inspect.explain import explain
from app.engine.inspect.reasons import Reason
from app.engine.inspect.waiting import CoolingDown, Parked
from app.errors import NotFound


@dataclass(frozen=True, slots=True)
class _Account:
    id: UUID
    org_id: UUID
    marketplace: str
    is_enabled: bool
    has_key: bool
    has_url: bool
    max_calls: int

    @property
    def obstacle(self) -> str | None:
        """Why no call can be made, or None."""
        if not self.is_enabled:
            return "is disabled"
        return None if self.has_key and self.has_url else "has no API key" if self.has_url else "has no URL"


@dataclass(frozen=True, slots=True)
class _Found:
    """An item or a page. `page_ids`: the open pages that bring its result."""

    run_id: UUID
    is_item: bool
    status: str
    external_id: str
    cost_cents: int
    error_code: str | None
    error_message: str | None
    completed_at: datetime | None
    page_ids: list[UUID]


_ACCOUNTS = """
SELECT id, org_id, marketplace, is_enabled, has_key, base_url IS NOT NULL AS has_url, max_calls
  FROM collection.marketplace_accounts
 WHERE org_id = %(org)s AND (%(marketplace)s::text IS NULL OR marketplace = %(marketplace)s)
 ORDER BY marketplace
"""
_PLACE = """
SELECT (SELECT count(*) FROM collection.collection_runs r
         WHERE r.org_id = own.org_id AND (r.status = 'pending' OR r.pause_reason = 'place')
           AND (r.created_at, r.id) <= (own.created_at, own.id)) AS position,
       (SELECT count(*) FROM collection.collection_runs r WHERE r.org_id = own.org_id AND r.status = 'running')
           AS running,
       coalesce((SELECT s.max_concurrent_runs FROM collection.collection_settings s WHERE s.org_id = own.org_id),
                %(default)s) AS most
  FROM collection.collection_runs own WHERE own.id = %(id)s
"""
_FIND = """
SELECT i.run_id, true AS is_item, i.status, i.external_id, i.cost_cents, i.error_code, i.error_message, i.completed_at,
       ARRAY(SELECT p.id FROM collection.collection_pages p
              WHERE p.run_id = i.run_id AND p.status IN ('pending', 'processing')
                AND i.external_id = ANY(p.external_ids)) AS page_ids
  FROM collection.collection_items i WHERE i.id = %(id)s
 UNION ALL
SELECT p.run_id, false, p.status, '', p.cost_cents, p.error_code, p.error_message, p.completed_at, ARRAY[p.id]
  FROM collection.collection_pages p WHERE p.id = %(id)s
"""
_TENANT = """
SELECT org_id FROM collection.collection_runs WHERE id = %(id)s
 UNION ALL SELECT org_id FROM collection.collection_items WHERE id = %(id)s
 UNION ALL SELECT org_id FROM collection.collection_pages WHERE id = %(id)s
"""


def explain_run(connection: Connection, run_id: UUID) -> list[Reason]:
    """Return the reasons why a run has not ended, with its books, or how it ended. Raises `NotFound`."""
    run = _run(connection, run_id)
    waiting = _of_accounts(explain(connection, {"subject": str(run_id)}), _accounts(connection, run))
    if run.completed_at is not None:
        return [_ended(run, run.completed_at), *waiting]
    found = [*_state(connection, run), *_obstacles(connection, run), *waiting]
    return [*(found or [Lost()]), _books(run)]


def explain_item(connection: Connection, item_id: UUID) -> list[Reason]:
    """Return the reasons why an item or a page has no result, or its result. Raises `NotFound`."""
    found = connection.cursor(row_factory=class_row(_Found)).execute(_FIND, {"id": item_id}).fetchone()
    if found is None:
        raise NotFound(f"item: there is no item or page {item_id} of a collection run")
    if found.completed_at is not None:
        return [_result(found, found.completed_at)]
    run = _run(connection, found.run_id)
    said: list[dict[str, Any]] = [{"page_id": str(page_id)} for page_id in found.page_ids]
    if found.is_item:
        said.append({"run_id": str(run.id), "external_id": found.external_id})
    reasons = [reason for one in said for reason in explain(connection, {"data": one})]
    waiting = [*_state(connection, run), *_obstacles(connection, run)]
    waiting += _of_accounts(reasons, _accounts(connection, run))
    return waiting or [Lost()]


def with_accounts(connection: Connection, org_id: UUID, reasons: Sequence[Reason]) -> list[Reason]:
    """Return the reasons of an organisation's waiting events in terms of its accounts, and accounts it cannot use."""
    wanted = {"org": org_id, "marketplace": None}
    accounts = connection.cursor(row_factory=class_row(_Account)).execute(_ACCOUNTS, wanted).fetchall()
    return [*_unusable(connection, accounts), *_of_accounts(reasons, accounts)]


def tenant_of(connection: Connection, id_: UUID) -> UUID | None:
    """Return the organisation of a run, an item or a page; None if there is none with this id."""
    found: UUID | None = connection.cursor(row_factory=scalar_row).execute(_TENANT, {"id": id_}).fetchone()
    return found


def _run(connection: Connection, run_id: UUID) -> Run:
    run = store.any_run(connection, run_id)
    if run is None:
        raise NotFound(f"job: there is no collection run {run_id}; `runs list` shows an organisation's")
    return run


def _accounts(connection: Connection, run: Run) -> list[_Account]:
    wanted = {"org": run.org_id, "marketplace": run.marketplace}
    return connection.cursor(row_factory=class_row(_Account)).execute(_ACCOUNTS, wanted).fetchall()


def _state(connection: Connection, run: Run) -> Iterator[Reason]:
    """Yield why the run itself does not go on."""
    if run.pause_reason is not None and run.paused_at is not None:
        yield RunPaused(run.id, run.marketplace, run.pause_reason, run.paused_at, run.changed_by)
    if run.is_waiting:
        wanted = {"id": run.id, "default": rules.CONCURRENT_RUNS}
        yield from connection.cursor(row_factory=class_row(NoPlace)).execute(_PLACE, wanted)


def _obstacles(connection: Connection, run: Run) -> Iterator[Reason]:
    accounts = _accounts(connection, run)
    if not accounts:
        yield AccountUnusable(run.org_id, run.marketplace, "does not exist")
    yield from _unusable(connection, accounts)


def _unusable(connection: Connection, accounts: Sequence[_Account]) -> Iterator[Reason]:
    """Yield accounts that are disabled or incomplete, and those that the marketplace asked to wait."""
    for one in accounts:
        if one.obstacle:
            yield AccountUnusable(one.org_id, one.marketplace, one.obstacle)
    by_key = {limit_key(one.id): one.marketplace for one in accounts}
    for rest in cooldowns.find(connection, list(by_key)):
        yield AccountResting(by_key[rest.key], rest.reason, rest.until)


def _of_accounts(reasons: Iterable[Reason], accounts: Iterable[_Account]) -> Iterator[Reason]:
    """Replace reasons about a concurrency limit's key by reasons about the account with the marketplace."""
    by_key = {limit_key(account.id): account for account in accounts}
    for reason in reasons:
        match reason:
            case Parked(key=key) if account := by_key.get(key):
                busy = (account.marketplace, reason.held, account.max_calls, reason.since)
                yield CallsBusy(reason.events, *busy)
            case CoolingDown(key=key) if key in by_key:
                pass  # `_unusable` reads it, also for pages that were put back
            case _:
                yield reason


def _books(run: Run) -> Budget:
    return Budget(
        run.actual_cost_cents,
        run.reserved_cost_cents,
        run.overrun_cents,
        run.budget_cap_cents,
        own_cap=run.cap_override_cents is not None,
    )


def _ended(run: Run, completed_at: datetime) -> RunEnded:
    counted = (run.processed_items, run.failed_items, run.actual_cost_cents, run.overrun_cents)
    return RunEnded(run.status, *counted, completed_at, run.error_code, run.error_message)


def _result(found: _Found, completed_at: datetime) -> Reason:
    error = (found.error_code, found.error_message)
    if found.is_item:
        return ItemEnded(found.status, found.external_id, completed_at, *error)
    return PageEnded(found.status, found.cost_cents, completed_at, *error)
