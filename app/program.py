"""Merge the engine's parts and those of every domain, once a process."""

from __future__ import annotations

from app.engine.health import event_types, queue, server
from app.engine.inspect.invariants import ENGINE
from app.engine.merge import merged
from app.engine.queue import ordering
from app.loading import parts
from app.wiring import domains, migrations

_DOMAINS = domains()
_PARTS = [parts(domain) for domain in _DOMAINS]

WIRING = merged(
    ((domain.name, wiring) for domain, found in zip(_DOMAINS, _PARTS, strict=True) for wiring in found.wirings),
    tables=[table for found in _PARTS for table in found.tables],
    schemas=[schema for domain in _DOMAINS for schema in domain.schemas],
    migrations=migrations(),
)
"""Handlers and effects by event type, and the tables, schemas and migrations that they need."""

INVARIANTS = (*ENGINE, *ordering.INVARIANTS, *(one for found in _PARTS for one in found.invariants))
"""All invariants that `python cli.py audit` checks."""

CHECKUPS = (
    *server.SERVER,
    *queue.QUEUE,
    *event_types.EVENT_TYPES,
    *(one for found in _PARTS for one in found.checkups),
)
"""All checkups of `python cli.py doctor`."""

EXPLAINERS = tuple(one for found in _PARTS for one in found.explainers)
"""The domains' functions for `python cli.py explain`."""
