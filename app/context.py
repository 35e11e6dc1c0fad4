"""Moment and Context: what a function needs to act, in one frozen value.

Either lives as long as one transaction. It is made where the transaction is opened (a command, a request, a
delivery) and handed down; no function of a domain opens a connection, reads a clock or guesses a tenant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """When and through which transaction something is done: what a handler gets, whose events have many tenants.

    `now` is this host's clock, for the time that an event carries. Hosts' clocks differ: a time that is compared with
    another one is written and compared by the database's clock.
    """

    connection: Connection
    now: datetime

    @classmethod
    def begin(cls, connection: Connection) -> HandlerContext:
        """This very moment: with `Context.start`, the one place that reads the clock for a domain."""
        return cls(connection, datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Context(HandlerContext):
    """A moment on behalf of one tenant, a workspace or an organisation."""

    tenant_id: UUID

    @classmethod
    def start(cls, connection: Connection, tenant_id: UUID) -> Context:
        """Begin to act for `tenant_id` in the transaction that `connection` has open."""
        return cls(connection, datetime.now(UTC), tenant_id)
