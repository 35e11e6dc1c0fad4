"""Doctor: health checks of server, schema and queue. Each finding has a remedy.

`app.wiring` lists the checkups of the engine and of the domains. Checkups only read. A statement that exceeds 20 s, or
waits more than 2 s for a lock, becomes a finding.
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
    """The result of a check. `problem`: act now. `warning`: act soon. `info`: no action needed. `ok`: nothing wrong."""

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
    """Two connections to the checked system, both in autocommit mode.

    `service` uses the role `service_role`. `login` uses the login's own role, because PostgreSQL shows a session's
    transaction only to the same login.
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
    """Connect to the database of this process's settings. Raises `psycopg.OperationalError`."""
    with (
        psycopg.connect(database.conninfo(**_TIME_LIMITS), autocommit=True) as service,
        psycopg.connect(database.conninfo(role="none", **_TIME_LIMITS), autocommit=True) as login,
    ):
        yield CheckContext(service, login, limits or Limits())


def examine(context: CheckContext, checkups: Iterable[Checkup]) -> list[Finding]:
    """Run checkups in order and return their findings. A checkup that fails becomes a finding."""
    return [finding for checkup in checkups for finding in _examine(context, checkup)]


def _examine(context: CheckContext, checkup: Checkup) -> list[Finding]:
    try:
        return list(checkup.run(context)) or [Finding("ok", checkup.subject, checkup.ok_message)]
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedColumn) as error:
        return [Finding("problem", checkup.subject, f"cannot check: {_why(error)}", "run `db migrate`")]
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        remedy = "the server is busy, or a lock is held: run `doctor` again, and read pg_stat_activity"
        return [Finding("warning", checkup.subject, f"cannot check: {_why(error)}", remedy)]
    except (psycopg.Error, SetupError) as error:
        return [Finding("problem", checkup.subject, f"cannot check: {_why(error)}", "fix this error, check again")]


def _why(error: Exception) -> str:
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or " ".join(str(error).split())
