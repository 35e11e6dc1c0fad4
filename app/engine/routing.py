"""Routes of events: queue, priority, batch size, and share of the workers' deliveries."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS_QUEUE = "events"
EVENTS_PRIORITY = 10
EFFECTS_PRIORITY = 0
MOST_IN_A_ROW = 500
"""Most events in one queue row."""

NOBODY = "-"
"""The tenant's name in the share of events without a tenant."""
_LONGEST_ACCOUNT = 100
"""Significant characters of an account's name. Longer names with the same prefix have one share."""


@dataclass(frozen=True, slots=True)
class Route:
    """A queue, a priority, and the most events in one queue row.

    Effects' events of different types (`effect_of`) never share a row, because each type has its own effect. Effects'
    events of different tenants or accounts (`share`) never share a row, because a row counts against one share.
    """

    queue: str
    priority: int
    batch_size: int
    effect_of: str | None = None
    share: str | None = None


def share_name(tenant: object, account: object = None) -> str:
    """Return the name of a share as a queue row stores it: `tenant/account`, or the tenant alone."""
    whose = NOBODY if tenant is None else str(tenant)
    return f"{whose}/{str(account)[:_LONGEST_ACCOUNT]}" if account else whose


def tenant_of(share: str) -> str:
    """Return the tenant of a share."""
    return share.partition("/")[0]
