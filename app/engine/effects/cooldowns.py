"""Cooldowns: after a retry-after answer of the other side, no call under the same concurrency limit begins until then.

Stored in the database, so a cooldown applies to all workers and survives restarts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from app.context import Connection
from app.engine.domain import ConcurrencyLimit
from app.errors import Busy
from events import Event

_FIND = """
SELECT key, extract(epoch FROM until - clock_timestamp())::double precision AS seconds, reason, until, since
  FROM engine.rests WHERE key = ANY(%s) AND until > clock_timestamp()
"""
_BEGIN = """
INSERT INTO engine.rests AS r (key, until, reason)
SELECT key, clock_timestamp() + seconds * interval '1 second', reason
  FROM unnest(%s::text[], %s::double precision[], %s::text[]) AS said (key, seconds, reason) ORDER BY key
ON CONFLICT (key) DO UPDATE
   SET until = greatest(r.until, excluded.until), reason = excluded.reason,
       since = CASE WHEN r.until > clock_timestamp() THEN r.since ELSE clock_timestamp() END
"""
_REASON_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Cooldown:
    """A key under which no call begins for `seconds` more."""

    key: str
    seconds: float
    reason: str
    until: datetime
    since: datetime


def key_of(limit: ConcurrencyLimit | None, event: Event[Any]) -> str:
    """Return the cooldown key of an event's call: its concurrency limit or, without one, its type."""
    return limit.key if limit else f"effect/{event.type}"


def find(connection: Connection, keys: Sequence[str]) -> list[Cooldown]:
    """Return the cooldowns in force among these keys."""
    if not keys:
        return []
    return connection.cursor(row_factory=class_row(Cooldown)).execute(_FIND, [list(keys)]).fetchall()


def begin(connection: Connection, said: Mapping[str, tuple[float, str]]) -> None:
    """Begin cooldowns: seconds and reason by key. A longer cooldown in force is kept."""
    if said:
        reasons = [reason[:_REASON_LIMIT].replace("\x00", "") for _, reason in said.values()]
        connection.execute(_BEGIN, [list(said), [seconds for seconds, _ in said.values()], reasons])


def busy(key: str, seconds: float, reason: str) -> Busy:
    """Return the error of an event whose call may not begin for `seconds`."""
    return Busy(f"{key} rests: {reason}", retry_after=seconds)
