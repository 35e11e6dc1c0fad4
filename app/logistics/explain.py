"""Explain: why a robot job, an item or a workspace's work does not go on. Adds to the engine's reasons the carriers'.

These are an operator's questions: they are asked of all workspaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from app.context import Connection
from app.engine.inspect.explain import explain
from app.engine.inspect.reasons import Reason
from app.engine.inspect.waiting import Parked
from app.errors import NotFound
from app.logistics.carriers import lane_key
from app.logistics.reasons import (
    CarrierDisabled,
    ItemFailed,
    ItemShipped,
    JobEnded,
    Lost,
    NoCredentials,
    SessionsBusy,
)
from events.robot import JobSubmitted


@dataclass(frozen=True, slots=True)
class _Job:
    id: UUID
    workspace_id: UUID
    carrier: str
    status: str
    success_count: int
    error_count: int
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Item:
    id: UUID
    job_id: UUID
    workspace_id: UUID
    carrier: str
    status: str
    retry_count: int
    tracking_number: str | None
    error_type: str | None
    error_message: str | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Account:
    id: UUID
    workspace_id: UUID
    carrier: str
    is_enabled: bool
    is_complete: bool
    max_sessions: int


_JOB = """
SELECT id, workspace_id, carrier, status, success_count, error_count, completed_at
  FROM logistics.robot_jobs WHERE id = %s
"""
_ITEM = """
SELECT i.id, i.job_id, j.workspace_id, j.carrier, i.status, i.retry_count, i.tracking_number, i.error_type,
       i.error_message, i.completed_at
  FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
 WHERE i.id = %s
"""
_WORKSPACE = """
SELECT workspace_id FROM logistics.robot_jobs
 WHERE id = %(id)s OR id = (SELECT job_id FROM logistics.robot_job_items WHERE id = %(id)s)
"""
_ACCOUNTS = """
SELECT id, workspace_id, carrier, is_enabled, max_sessions,
       has_password AND portal_username IS NOT NULL AND portal_url IS NOT NULL AS is_complete
  FROM logistics.carrier_configs
 WHERE workspace_id = %(workspace_id)s AND (%(carrier)s::text IS NULL OR carrier = %(carrier)s)
 ORDER BY carrier
"""


def explain_job(connection: Connection, job_id: UUID) -> list[Reason]:
    """Why a robot job has not ended, or that it has. Raises `NotFound`."""
    job = connection.cursor(row_factory=class_row(_Job)).execute(_JOB, [job_id]).fetchone()
    if job is None:
        raise NotFound(f"job: there is no robot job {job_id}; `jobs list` shows a workspace's")
    accounts = _accounts(connection, job.workspace_id, job.carrier)
    found = list(_of_carriers(explain(connection, {"subject": str(job_id)}), accounts))
    if job.status in {"completed", "failed"}:
        return [JobEnded(job.status, job.success_count, job.error_count, job.completed_at), *found]
    return [*_unusable(job.workspace_id, job.carrier, accounts), *(found or [Lost()])]


def explain_item(connection: Connection, item_id: UUID) -> list[Reason]:
    """Why an item has no result, or which one it has. Raises `NotFound`."""
    item = connection.cursor(row_factory=class_row(_Item)).execute(_ITEM, [item_id]).fetchone()
    if item is None:
        raise NotFound(f"item: there is no item {item_id} of a robot job; `jobs show JOB` lists a job's")
    accounts = _accounts(connection, item.workspace_id, item.carrier)
    found = list(_of_carriers(explain(connection, {"data": {"item_id": str(item_id)}}), accounts))
    if item.status == "success" and item.tracking_number and item.completed_at:
        return [ItemShipped(item.tracking_number, item.completed_at), *found]
    if item.status == "error" and item.error_type and item.completed_at:
        why = (item.error_type, item.error_message, item.retry_count)
        return [ItemFailed(item.job_id, item.id, *why, item.completed_at), *found]
    # An item that nobody has asked for yet waits with the event that will.
    found = found or explain(connection, {"type": JobSubmitted.type, "subject": str(item.job_id)})
    return [*_unusable(item.workspace_id, item.carrier, accounts), *(found or [Lost()])]


def workspace_of(connection: Connection, id_: UUID) -> UUID | None:
    """The workspace of a robot job, or of an item of one; None if neither has this id."""
    return connection.cursor(row_factory=scalar_row).execute(_WORKSPACE, {"id": id_}).fetchone()


def explain_workspace(connection: Connection, workspace_id: UUID) -> list[Reason]:
    """Why events of a workspace have not been applied, and which of its carriers cannot be used."""
    accounts = _accounts(connection, workspace_id)
    found = explain(connection, {"tenantid": str(workspace_id)})
    unusable = (reason for one in accounts for reason in _unusable(workspace_id, one.carrier, [one]))
    return [*unusable, *_of_carriers(found, accounts)]


def _accounts(connection: Connection, workspace_id: UUID, carrier: str | None = None) -> list[_Account]:
    wanted = {"workspace_id": workspace_id, "carrier": carrier}
    return connection.cursor(row_factory=class_row(_Account)).execute(_ACCOUNTS, wanted).fetchall()


def _unusable(workspace_id: UUID, carrier: str, accounts: Iterable[_Account]) -> Iterator[Reason]:
    account = next(iter(accounts), None)
    if account is None or not account.is_complete:
        yield NoCredentials(workspace_id, carrier)
    if account is not None and not account.is_enabled:
        yield CarrierDisabled(workspace_id, carrier)


def _of_carriers(reasons: Iterable[Reason], accounts: Iterable[_Account]) -> Iterator[Reason]:
    """The engine knows a lane by its key; here it is an account with a carrier."""
    by_key = {lane_key(account.id): account for account in accounts}
    for reason in reasons:
        if isinstance(reason, Parked) and (account := by_key.get(reason.key)):
            bound = (account.workspace_id, account.carrier, reason.held, account.max_sessions)
            yield SessionsBusy(reason.events, *bound, reason.since)
        else:
            yield reason
