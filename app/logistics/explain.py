"""Explain why robot jobs, items and events of a workspace wait. Adds reasons of carriers to the engine's.

These functions are for operators: they read the rows of all workspaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine.batches import explainers
from app.engine.batches.explainers import OwnReasons
from app.engine.inspect.reasons import Reason
from app.engine.inspect.waiting import Parked
from app.logistics.carriers import limit_key
from app.logistics.reasons import CarrierDisabled, ItemShipped, JobEnded, NoCredentials, SessionsBusy
from app.logistics.store import ROBOT_JOBS, RobotJob, RobotJobItem


@dataclass(frozen=True, slots=True)
class _Account:
    id: UUID
    workspace_id: UUID
    carrier: str
    is_enabled: bool
    is_complete: bool
    max_sessions: int


_ACCOUNTS = """
SELECT id, workspace_id, carrier, is_enabled, max_sessions,
       has_password AND portal_username IS NOT NULL AND portal_url IS NOT NULL AS is_complete
  FROM logistics.carrier_configs
 WHERE workspace_id = %(workspace_id)s AND (%(carrier)s::text IS NULL OR carrier = %(carrier)s)
 ORDER BY carrier
"""


def explain_job(connection: Connection, job_id: UUID) -> list[Reason]:
    """Return the reasons why a robot job has not ended, or how it ended. Raises `NotFound`."""
    return explainers.explain_job(connection, ROBOT_JOBS, job_id, OWN_REASONS)


def explain_item(connection: Connection, item_id: UUID) -> list[Reason]:
    """Return the reasons why an item has no result, or its result. Raises `NotFound`."""
    return explainers.explain_item(connection, ROBOT_JOBS, item_id, OWN_REASONS)


def with_carriers(connection: Connection, workspace_id: UUID, reasons: Sequence[Reason]) -> list[Reason]:
    """Return the reasons of a workspace's waiting events in terms of its accounts, and accounts that cannot be used."""
    accounts = _accounts(connection, workspace_id)
    unusable = (reason for one in accounts for reason in _unusable(workspace_id, one.carrier, [one]))
    return [*unusable, *_of_carriers(reasons, accounts)]


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
    """Replace reasons about a concurrency limit's key by reasons about the account with the carrier."""
    by_key = {limit_key(account.id): account for account in accounts}
    for reason in reasons:
        if isinstance(reason, Parked) and (account := by_key.get(reason.key)):
            bound = (account.workspace_id, account.carrier, reason.held, account.max_sessions)
            yield SessionsBusy(reason.events, *bound, reason.since)
        else:
            yield reason


def _job_ended(job: RobotJob) -> Reason:
    return JobEnded(job.status, job.success_count, job.error_count, job.completed_at)


def _item_shipped(item: RobotJobItem) -> Reason:
    if item.tracking_number is None or item.completed_at is None:
        raise TypeError(item)
    return ItemShipped(item.tracking_number, item.completed_at)


def _of_its_carrier(connection: Connection, job: RobotJob, found: list[Reason]) -> Iterator[Reason]:
    yield from _of_carriers(found, _accounts(connection, job.workspace_id, job.carrier))


def _unusable_carrier(connection: Connection, job: RobotJob) -> Iterator[Reason]:
    yield from _unusable(job.workspace_id, job.carrier, _accounts(connection, job.workspace_id, job.carrier))


OWN_REASONS = OwnReasons(_job_ended, _item_shipped, _of_its_carrier, _unusable_carrier)
