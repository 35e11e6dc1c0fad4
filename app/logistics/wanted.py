"""Recheck right before the irreversible call whether an order must still be entered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine.domain import Prepared
from app.logistics import rules
from app.logistics.carriers import PortalConfig
from app.logistics.order import OrderStatus

ORDER_CANCELLED = "the order is cancelled; it was not entered"


class Unwanted(Exception):
    """The order must not be entered; the message has the reason.

    `may_be_there`: an earlier call may have entered it, and the portal was not asked.
    """

    def __init__(self, message: str, *, may_be_there: bool = False) -> None:
        super().__init__(message)
        self.may_be_there = may_be_there


class AccountChanged(Exception):
    """The credentials or the URL of the account were changed. `config`: the current account."""

    def __init__(self, config: PortalConfig) -> None:
        super().__init__(f"the account with {config.carrier} was changed")
        self.config = config


_RECHECK = """
SELECT asked.event_id, coalesce(i.status IN ('pending', 'processing') AND i.retry_count = asked.attempt, false)
       AS is_awaited, o.status AS order_status, j.cancelled_by, j.cancel_reason, c.id, j.workspace_id, asked.carrier,
       c.portal_username, c.portal_password, c.portal_url, coalesce(c.max_sessions, 1) AS max_sessions,
       coalesce(c.is_enabled, false) AS is_enabled
  FROM unnest(%s::uuid[], %s::uuid[], %s::integer[], %s::text[]) AS asked (event_id, item_id, attempt, carrier)
  JOIN logistics.robot_job_items i ON i.id = asked.item_id
  JOIN logistics.robot_jobs j ON j.id = i.job_id
  JOIN logistics.orders o ON o.id = i.order_id
  LEFT JOIN logistics.carrier_configs c ON c.workspace_id = j.workspace_id AND c.carrier = asked.carrier
"""


@dataclass(frozen=True, slots=True)
class Now:
    """The state right before a call. `is_awaited`: the item has no result and waits for this attempt."""

    event_id: UUID
    is_awaited: bool
    order_status: OrderStatus
    cancelled_by: str | None
    cancel_reason: str | None
    id: UUID | None
    workspace_id: UUID
    carrier: str
    portal_username: str | None
    portal_password: str | None = field(repr=False)
    portal_url: str | None
    max_sessions: int
    is_enabled: bool

    @property
    def config(self) -> PortalConfig | None:
        """The workspace's account with the carrier; None if there is none."""
        if self.id is None:
            return None
        credentials = (self.portal_username, self.portal_password, self.portal_url)
        return PortalConfig(self.id, self.workspace_id, self.carrier, *credentials, self.max_sessions, self.is_enabled)


def recheck(connection: Connection, prepared: Sequence[Prepared]) -> dict[UUID, Now]:
    """Return the current state of orders that are about to be entered, by the event's id. Leaves out deleted rows."""
    asked = [(one.event.id, one.event.data) for one in prepared]
    columns = [
        [event_id for event_id, _ in asked],
        [data.item_id for _, data in asked],
        [data.attempt for _, data in asked],
        [data.carrier for _, data in asked],
    ]
    found = connection.cursor(row_factory=class_row(Now)).execute(_RECHECK, columns)
    return {now.event_id: now for now in found}


def check(now: Now | None, config: PortalConfig) -> None:
    """Raise `Unwanted` if the order must not be entered any more, `AccountChanged` if the account has changed."""
    if why := _obstacle(now):
        raise Unwanted(why)
    check_account(now, config)


def check_account(now: Now | None, config: PortalConfig) -> None:
    """Raise `Unwanted` if the account is disabled or incomplete, `AccountChanged` if its login has changed."""
    current = now.config if now else None
    if current is None or not current.is_ready:
        raise Unwanted(f"carrier {config.carrier} is disabled or has no credentials; `carriers show {config.carrier}`")
    if _login(current) != _login(config):
        raise AccountChanged(current)


def _obstacle(now: Now | None) -> str | None:
    if now is None or not now.is_awaited:
        return "the item is not waiting for this attempt any more"
    if now.cancelled_by is not None:
        return rules.cancelled_by(now.cancelled_by, now.cancel_reason or "")
    return ORDER_CANCELLED if now.order_status == "cancelled" else None


def _login(config: PortalConfig) -> tuple[str | None, ...]:
    return config.portal_username, config.portal_password, config.portal_url
