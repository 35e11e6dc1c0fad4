"""Doctor: what is wrong with the server, the schema and the queue, and what to do about it.

A checkup looks at one thing and tells what it found; `app.wiring` lists the engine's and the domains'. All of them only
read, and none waits: a statement that takes too long, or a lock that is held, becomes a finding too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import psycopg

from app import database
from app.context import Connection
from app.errors import SetupError

Level = Literal["ok", "info", "warning", "problem"]

_TIME_LIMITS = {"statement_timeout": "20s", "lock_timeout": "2s"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found: `problem` needs somebody now, `warning` soon, `info` is good to know, `ok` is well."""

    level: Level
    subject: str
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds above which a check reports a finding. Seconds, bytes, and numbers of rows."""

    oldest_waiting_s: float = 300.0
    longest_transaction_s: float = 300.0
    most_dead_rows: int = 50_000
    most_kept_wal_bytes: int = 1 << 30
    fewest_connections: int = 50


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The system under examination, through two connections in autocommit mode.

    `service` acts as `service_role`. `login` acts as the login role: PostgreSQL shows a session's transaction to
    those of its own login alone.
    """

    service: Connection
    login: Connection
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Checkup:
    """One check. `ok_message` is the text of its finding when nothing is wrong."""

    subject: str
    run: Callable[[CheckContext], Iterable[Finding]]
    ok_message: str


@contextmanager
def check_context(limits: Limits | None = None) -> Iterator[CheckContext]:
    """The system of this process's settings."""
    with (
        psycopg.connect(database.conninfo(**_TIME_LIMITS), autocommit=True) as service,
        psycopg.connect(database.conninfo(role="none", **_TIME_LIMITS), autocommit=True) as login,
    ):
        yield CheckContext(service, login, limits or Limits())


def examine(context: CheckContext, checkups: Iterable[Checkup]) -> list[Finding]:
    """Every finding of some checkups, in their order; one that cannot be made is a problem of its own."""
    return [finding for checkup in checkups for finding in _examine(context, checkup)]


def _examine(context: CheckContext, checkup: Checkup) -> list[Finding]:
    try:
        return list(checkup.run(context)) or [Finding("ok", checkup.subject, checkup.ok_message)]
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedColumn) as error:
        return [Finding("problem", checkup.subject, f"cannot look: {_why(error)}", "run `db migrate`")]
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        remedy = "the server is busy, or a lock is held: look again, and at pg_stat_activity"
        return [Finding("warning", checkup.subject, f"cannot look: {_why(error)}", remedy)]
    except (psycopg.Error, SetupError) as error:
        return [Finding("problem", checkup.subject, f"cannot look: {_why(error)}", "mend what is told, look again")]


def _why(error: Exception) -> str:
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or " ".join(str(error).split())
