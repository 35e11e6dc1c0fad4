"""The whole program: the engine's parts and those of every domain, merged once when the process first needs them."""

from __future__ import annotations

from app.engine.domain import merged
from app.engine.health import queue, server
from app.engine.inspect.invariants import ENGINE
from app.engine.queue import ordering
from app.loading import parts, refuse_shared_events
from app.wiring import domains, migrations

_DOMAINS = domains()
refuse_shared_events(_DOMAINS)
_PARTS = [parts(domain) for domain in _DOMAINS]

WIRING = merged(
    (wiring for found in _PARTS for wiring in found.wirings),
    tables=[table for found in _PARTS for table in found.tables],
    schemas=[schema for domain in _DOMAINS for schema in domain.schemas],
    migrations=migrations(),
)
"""Who serves which event, and what the database must have for it."""

INVARIANTS = (*ENGINE, *ordering.INVARIANTS, *(one for found in _PARTS for one in found.invariants))
"""Every invariant that `python cli.py audit` looks up."""

CHECKUPS = (*server.SERVER, *queue.QUEUE, *(one for found in _PARTS for one in found.checkups))
"""Every check of `python cli.py doctor`."""

EXPLAINERS = tuple(one for found in _PARTS for one in found.explainers)
"""How the domains answer `python cli.py explain`."""
