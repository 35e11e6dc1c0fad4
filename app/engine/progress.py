"""Receive notifications of changed rows (LISTEN/NOTIFY). A notification has only ids; the listener reads the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from app.context import Connection

CHANNEL = "tallyman_progress"
LISTEN: LiteralString = "LISTEN tallyman_progress"


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of a table that changed in one statement. `ids`: None if there were too many to list."""

    table: str
    ids: frozenset[UUID] | None

    @classmethod
    def parse(cls, payload: str) -> Change:
        """Return the change of a notification's payload. Raises `ValueError` for any other text.

        Every role of the database may send notifications on the channel.
        """
        try:
            told = json.loads(payload)
            ids = None if told["ids"] is None else frozenset(UUID(row_id) for row_id in told["ids"])
            return cls(str(told["table"]), ids)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a change: {payload[:80]!r}") from error

    def concerns(self, row_id: UUID) -> bool:
        """Whether the row may be among the changed rows. Always true if `ids` is None."""
        return self.ids is None or row_id in self.ids


def listen(connection: Connection, *, timeout: float) -> Iterator[Change | None]:
    """Yield changes as they are committed, without end. Yields None after `timeout` seconds without a change.

    The connection must be in autocommit mode and must not be used for anything else meanwhile.
    """
    connection.execute(LISTEN)
    while True:
        # Exhaust psycopg's generator before yielding: it holds the connection's lock while it is open.
        heard = list(connection.notifies(timeout=timeout, stop_after=1))
        yield from (Change.parse(notification.payload) for notification in heard)
        if not heard:
            yield None
