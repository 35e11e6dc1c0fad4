"""The dead letters and replay plans of one tenant, for its admins. Each function is limited to the context's tenant.

A plan is a tenant's if it was made of this tenant's letters alone. A letter or plan of another tenant is reported like
one that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row

from app.context import Context
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters import plan_list
from app.engine.dead_letters.letters import COLUMNS, DeadLetter, Filters
from app.engine.dead_letters.plan import Plan
from app.engine.dead_letters.plan_list import Listed
from app.errors import NotFound

_FROM: LiteralString = f"SELECT {COLUMNS} FROM engine.failed_jobs"  # noqa: S608 - a constant
_LIST: LiteralString = f"""{_FROM}
 WHERE tenant_id = %(tenant)s
   AND (%(type)s::text IS NULL OR job_type = %(type)s)
   AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
   AND (%(resolved)s::boolean IS NULL OR (resolved_at IS NOT NULL) = %(resolved)s)
   AND (%(before)s::uuid IS NULL OR (failed_at, id) < (
           SELECT b.failed_at, b.id FROM engine.failed_jobs b WHERE b.id = %(before)s AND b.tenant_id = %(tenant)s))
 ORDER BY failed_at DESC, id DESC LIMIT %(limit)s
"""  # noqa: S608 - a constant
_FIND: LiteralString = f"""{_FROM}
 WHERE tenant_id = %(tenant)s AND (id = %(id)s OR event_id = %(id)s)
 ORDER BY (id = %(id)s) DESC, (resolved_at IS NULL) DESC, failed_at DESC LIMIT 1
"""


def list_letters(
    context: Context,
    *,
    type_: str | None = None,
    fingerprint: str | None = None,
    resolved: bool | None = False,
    before: UUID | None = None,
    limit: int = 100,
) -> list[DeadLetter]:
    """Return at most `limit` letters, newest first. `resolved`: None for both. `before`: continue after this letter."""
    wanted = {
        "tenant": context.tenant_id,
        "type": type_,
        "fingerprint": fingerprint,
        "resolved": resolved,
        "before": before,
        "limit": limit,
    }
    return context.connection.cursor(row_factory=class_row(DeadLetter)).execute(_LIST, wanted).fetchall()


def find_letter(context: Context, wanted: UUID) -> DeadLetter:
    """Return the letter with this id, or the letter of the event with this id. Raises `NotFound`."""
    cursor = context.connection.cursor(row_factory=class_row(DeadLetter))
    letter = cursor.execute(_FIND, {"tenant": context.tenant_id, "id": wanted}).fetchone()
    if letter is None:
        raise NotFound(f"dead letter: there is none with the id {wanted}")
    return letter


def make_plan(context: Context, filters: Filters, *, actor: str) -> Plan:
    """Make a plan of the tenant's letters that match the filters. See `plan.make`."""
    return plans.make(context.connection, replace(filters, tenant=context.tenant_id), actor=actor)


def find_plan(context: Context, plan_id: UUID) -> Plan:
    """Return a plan of the tenant's letters. Raises `NotFound`."""
    unknown = NotFound(f"plan: there is none with the id {plan_id}")
    try:
        found = plans.find(context.connection, plan_id)
    except NotFound:
        raise unknown from None
    if found.filters.get("tenant") != str(context.tenant_id):
        raise unknown
    return found


def list_plans(context: Context, *, every: bool, before: UUID | None = None, limit: int = 100) -> Sequence[Listed]:
    """Return at most `limit` plans of the tenant's letters, newest first. `before`: continue after this plan."""
    pages = plan_list.pages(context.connection, every=every, limit=limit, tenant=context.tenant_id, before=before)
    return [plan for page in pages for plan in page]
