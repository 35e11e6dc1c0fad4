"""Prune: drop what is past its time, in bounded batches, so that no lock is ever held for long."""

from __future__ import annotations

from typing import LiteralString

import structlog

from app.context import Connection
from app.settings import settings

log = structlog.get_logger(__name__)

_BATCH = 5_000

_LEDGER = """
DELETE FROM engine.event_log WHERE event_id IN (
    SELECT event_id FROM engine.event_log WHERE applied_at < now() - %(days)s * interval '1 day' LIMIT %(batch)s)
"""
_RESOLVED = """
DELETE FROM engine.failed_jobs WHERE id IN (
    SELECT id FROM engine.failed_jobs WHERE resolved_at < now() - %(days)s * interval '1 day' LIMIT %(batch)s)
"""
_RESCUES = """
DELETE FROM engine.rescues WHERE id IN (
    SELECT id FROM engine.rescues WHERE at < now() - %(days)s * interval '1 day' LIMIT %(batch)s)
"""


def prune(connection: Connection) -> dict[str, int]:
    """Drop applied events, resolved dead letters and rescues of long ago; returns how many rows of each went.

    How long is long is in the settings, in days. Unresolved dead letters are never dropped.
    """
    given = settings()
    gone = {
        "event_log": _in_batches(connection, _LEDGER, given.ledger_days),
        "failed_jobs": _in_batches(connection, _RESOLVED, given.resolved_days),
        "rescues": _in_batches(connection, _RESCUES, given.resolved_days),
    }
    if any(gone.values()):
        log.info("pruned", **gone)
    return gone


def _in_batches(connection: Connection, statement: LiteralString, days: float) -> int:
    gone = 0
    while True:
        with connection.transaction():
            count = connection.execute(statement, {"days": days, "batch": _BATCH}).rowcount
        gone += count
        if count < _BATCH:
            return gone
