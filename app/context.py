"""Contexts: the connection, the current time and the tenant of a transaction, as one frozen value.

A context is valid for one transaction. The code that opens the transaction (a command, a request, a delivery) creates
it and passes it on. Functions of domains never open connections, read clocks or choose tenants themselves.
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
    """The connection and the current time, for handlers, whose events have many tenants.

    `now`: this host's clock in UTC, for the `time` of events. Clocks of hosts differ, so times that are compared with
    each other come from the database's clock instead.
    """

    connection: Connection
    now: datetime

    @classmethod
    def begin(cls, connection: Connection) -> HandlerContext:
        """Return a context with the current time. Domains read the clock only here and in `Context.start`."""
        return cls(connection, datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Context(HandlerContext):
    """The context of one tenant, such as a workspace or an organisation."""

    tenant_id: UUID

    @classmethod
    def start(cls, connection: Connection, tenant_id: UUID) -> Context:
        """Return a context for `tenant_id` in the current transaction of `connection`."""
        return cls(connection, datetime.now(UTC), tenant_id)
