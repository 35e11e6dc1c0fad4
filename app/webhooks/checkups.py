"""Checkups of webhooks, for `doctor`: endpoints that were disabled or are failing, and secrets that do not open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from app.engine.health.doctor import CheckContext, Checkup, Finding
from app.errors import InvalidInput, Permanent, SetupError
from app.webhooks import keys, sender
from app.webhooks.keys import SealedSecret


@dataclass(frozen=True, slots=True)
class _Ailing:
    id: UUID
    tenant_id: UUID
    is_enabled: bool
    disabled_reason: str | None
    since: datetime
    dead: int


@dataclass(frozen=True, slots=True)
class _Sealed:
    id: UUID
    tenant_id: UUID
    endpoint_id: UUID
    sealed: str


_AILING = """
SELECT e.id, e.tenant_id, e.is_enabled, e.disabled_reason, coalesce(e.disabled_at, e.failing_since) AS since,
       (SELECT count(*) FROM webhooks.deliveries d
         WHERE d.tenant_id = e.tenant_id AND d.endpoint_id = e.id AND d.status = 'dead') AS dead
  FROM webhooks.endpoints e
 WHERE e.disabled_reason IN ('gone', 'failing') OR e.is_enabled AND e.failing_since < now() - interval '1 hour'
 ORDER BY e.tenant_id, e.id
"""
_SECRETS = """
SELECT s.id, s.tenant_id, s.endpoint_id, s.sealed
  FROM webhooks.secrets s JOIN webhooks.endpoints e ON e.id = s.endpoint_id
 WHERE e.is_enabled AND coalesce(s.expires_at > now(), true) ORDER BY s.endpoint_id, s.id
"""


def _endpoints(context: CheckContext) -> Iterator[Finding]:
    """Report endpoints that the program disabled, and those that have been failing for more than an hour."""
    try:
        sender.reach()
    except SetupError as error:
        yield Finding("problem", "webhooks", str(error), "correct the variable in the environment of workers")
    for one in context.service.cursor(row_factory=class_row(_Ailing)).execute(_AILING):
        since, letters = f"{one.since:%Y-%m-%d %H:%M:%S%z}", f"; {one.dead} dead deliveries" if one.dead else ""
        if one.is_enabled:
            what = f"tenant {one.tenant_id}: endpoint {one.id} has been failing since {since}{letters}"
            yield Finding("warning", "webhooks", what, f"`webhooks test {one.id}` shows its answer")
        else:
            why = "it answered 410" if one.disabled_reason == "gone" else "it failed for days"
            what = f"tenant {one.tenant_id}: endpoint {one.id} is disabled since {since}, because {why}{letters}"
            remedy = f"when it works: `webhooks enable {one.id}`, then `dead replay` its letters"
            yield Finding("info", "webhooks", what, remedy)


def _secrets(context: CheckContext) -> Iterator[Finding]:
    """Report signing secrets of enabled endpoints that cannot be decrypted."""
    for one in context.service.cursor(row_factory=class_row(_Sealed)).execute(_SECRETS):
        try:
            keys.unseal(SealedSecret(one.id, one.tenant_id, one.sealed))
        except (SetupError, Permanent, InvalidInput) as error:
            what = f"tenant {one.tenant_id}: endpoint {one.endpoint_id}: {error}"
            yield Finding(
                "problem", "webhook secrets", what, f"add the key, or `webhooks rotate {one.endpoint_id} --hours 0`"
            )


WEBHOOKS = (
    Checkup("webhooks", _endpoints, "no endpoint is failing, and none was disabled by the program"),
    Checkup("webhook secrets", _secrets, "every enabled endpoint has secrets that can be decrypted"),
)
