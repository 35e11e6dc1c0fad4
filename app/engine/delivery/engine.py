"""Objects that all deliveries of one worker process share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg_pool import ConnectionPool

from app.context import Connection
from app.engine.delivery.locked import RecentlyLocked
from app.engine.delivery.sibling_limit import SiblingLimit
from app.engine.domain import Policy
from app.engine.metrics import counted_on_commit


@dataclass(frozen=True, slots=True)
class Engine:
    """Shared by a worker's deliveries: connection pool, retry policy, sibling limit and recently locked rows."""

    pool: ConnectionPool[Connection]
    policy: Policy = field(default_factory=Policy)
    sibling_limit: SiblingLimit = field(default_factory=SiblingLimit)
    locked: RecentlyLocked = field(default_factory=RecentlyLocked)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction on a connection of the pool. What it counts for the metrics is added when it commits."""
        with self.pool.connection() as connection, counted_on_commit(), connection.transaction():
            yield connection
