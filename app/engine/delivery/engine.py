"""Objects that all deliveries of one worker process share."""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg_pool import ConnectionPool

from app.context import Connection
from app.engine.delivery.locked import RecentlyLocked
from app.engine.delivery.sibling_limit import SiblingLimit
from app.engine.domain import Policy


@dataclass(frozen=True, slots=True)
class Engine:
    """Shared by a worker's deliveries: connection pool, retry policy, sibling limit and recently locked rows."""

    pool: ConnectionPool[Connection]
    policy: Policy = field(default_factory=Policy)
    sibling_limit: SiblingLimit = field(default_factory=SiblingLimit)
    locked: RecentlyLocked = field(default_factory=RecentlyLocked)
