"""Progress: who changed, told by NOTIFY; what it is now, the listener reads for itself under its own rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from app.context import Connection

CHANNEL = "tallyman_progress"


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of a table that changed together; `ids` is None when they were too many to name."""

    table: str
    ids: frozenset[UUID] | None

    def concerns(self, row_id: UUID) -> bool:
        """Whether the row may be among them."""
        return self.ids is None or row_id in self.ids


def listen(connection: Connection, *, timeout: float) -> Iterator[Change | None]:
    """Changes as they are committed, without end; None after `timeout` seconds without any, so that one can look.

    The connection must be in autocommit mode and is used for nothing else meanwhile.
    """
    connection.execute("LISTEN tallyman_progress")
    while True:
        # Taken out before they are handed on: psycopg holds the connection's lock as long as its generator is open.
        heard = list(connection.notifies(timeout=timeout, stop_after=1))
        yield from (_change(notification.payload) for notification in heard)
        if not heard:
            yield None


def _change(payload: str) -> Change:
    told = json.loads(payload)
    ids = None if told["ids"] is None else frozenset(UUID(row_id) for row_id in told["ids"])
    return Change(told["table"], ids)
