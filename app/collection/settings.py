"""Settings of an organisation's collection runs, and the consequences of a change for its runs, in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.errors import InsufficientPrivilege
from psycopg.rows import class_row

from app.collection import rules
from app.context import Context
from app.engine import audit_log
from app.engine.queue.publish import publish
from app.errors import Forbidden
from events import Event, Unreadable, parse_all


@dataclass(frozen=True, slots=True)
class Settings:
    """An organisation's settings; its defaults if nothing is set. `updated_at`: None if nothing is set."""

    budget_cap_cents: int = rules.CAP_CENTS
    soft_warning_percent: int = rules.WARNING_PERCENT
    max_concurrent_runs: int = rules.CONCURRENT_RUNS
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The settings after a change, the runs that it paused, and those that it woke, which may wait for a place."""

    settings: Settings
    paused: Sequence[UUID]
    woken: Sequence[UUID]


_GET = """
SELECT budget_cap_cents, soft_warning_percent, max_concurrent_runs, updated_at
  FROM collection.collection_settings WHERE org_id = %s
"""
_SET_AS_ADMIN = "SELECT paused, woken FROM collection.set_settings(%s, %s, %s, %s)"
_APPLY = "SELECT paused, woken, events FROM collection.apply_settings(%s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class _Changed:
    paused: list[UUID]
    woken: list[UUID]


@dataclass(frozen=True, slots=True)
class _Applied(_Changed):
    events: list[Any]


def get_settings(context: Context) -> Settings:
    """Return the organisation's settings, or the defaults."""
    found = context.connection.cursor(row_factory=class_row(Settings)).execute(_GET, [context.tenant_id]).fetchone()
    return found or Settings()


def set_settings(
    context: Context,
    *,
    actor: str,
    budget_cap_cents: int | None = None,
    soft_warning_percent: int | None = None,
    max_concurrent_runs: int | None = None,
) -> SettingsChanged:
    """Change the organisation's settings and, in the same commit, its runs. Values that are None stay unchanged.

    A run with a cap of its own keeps it. Of the others, a lower cap pauses the runs that have spent more; a higher cap
    books overruns as far as they fit, and wakes the runs that were paused for the budget and have room now. A lower
    `max_concurrent_runs` lets the youngest running runs wait. Waiting runs that have a place now start by an event.
    `actor`: the operator, for the audit log. Raises `InvalidInput` for a value out of range.
    """
    actor = audit_log.text("actor", actor)
    rules.check_settings(budget_cap_cents, soft_warning_percent, max_concurrent_runs)
    connection = context.connection
    wanted = [context.tenant_id, budget_cap_cents, soft_warning_percent, max_concurrent_runs, actor]
    with connection.transaction():
        done = connection.cursor(row_factory=class_row(_Applied)).execute(_APPLY, wanted).fetchone()
        if done is None:
            raise AssertionError("a function with OUT parameters returned no row")
        publish(connection, *(_written(one) for one in parse_all(done.events)))
        return SettingsChanged(get_settings(context), done.paused, done.woken)


def set_settings_as_admin(
    context: Context,
    *,
    budget_cap_cents: int | None = None,
    soft_warning_percent: int | None = None,
    max_concurrent_runs: int | None = None,
) -> SettingsChanged:
    """Change the organisation's settings as `set_settings()` does, in a transaction of its admin.

    The database checks the person (`database.as_person`) and publishes the events. Raises `Forbidden` for a person who
    is no admin of the organisation, and `InvalidInput` for a value out of range.
    """
    rules.check_settings(budget_cap_cents, soft_warning_percent, max_concurrent_runs)
    wanted = [context.tenant_id, budget_cap_cents, soft_warning_percent, max_concurrent_runs]
    try:
        with context.connection.transaction():
            done = context.connection.cursor(row_factory=class_row(_Changed)).execute(_SET_AS_ADMIN, wanted).fetchone()
    except InsufficientPrivilege as error:
        raise Forbidden(error.diag.message_primary or str(error)) from error
    if done is None:
        raise AssertionError("a function with OUT parameters returned no row")
    return SettingsChanged(get_settings(context), done.paused, done.woken)


def _written(event: Event[Any] | Unreadable) -> Event[Any]:
    if isinstance(event, Unreadable):
        message = f"collection.apply_settings(): {event.reason}"
        raise AssertionError(message)  # noqa: TRY004 - the function of the migration is wrong, not an argument
    return event
