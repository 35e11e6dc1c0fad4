"""Routing: from an event's type to a queue, a priority, a batch size and a share of the workers' deliveries."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS_QUEUE = "events"
EVENTS_PRIORITY = 10
EFFECTS_PRIORITY = 0
MOST_IN_A_ROW = 500
"""Events in one queue row, at most."""

NOBODY = "-"
"""The tenant of events that name none."""
_LONGEST_ACCOUNT = 100
"""Characters of an account's name that count; longer names that begin alike share their deliveries."""


@dataclass(frozen=True, slots=True)
class Route:
    """A queue, the priority in it, and how many events a row of it holds.

    Effects of different types (`effect_of`) never share a row: each type is prepared and called by its own effect.
    Nor do effects of different tenants or accounts (`share`): a row is delivered at the expense of one.
    """

    queue: str
    priority: int
    batch_size: int
    effect_of: str | None = None
    share: str | None = None


def share_name(tenant: object, account: str | None = None) -> str:
    """The name of a share as a queue row carries it: `tenant/account`, or the tenant alone."""
    whose = NOBODY if tenant is None else str(tenant)
    return f"{whose}/{account[:_LONGEST_ACCOUNT]}" if account else whose


def tenant_of(share: str) -> str:
    """The tenant of a share."""
    return share.partition("/")[0]
