"""Which handler and which effect serves which event: the only file that knows everyone."""

from __future__ import annotations

from dataclasses import replace

from app.engine.batches import checks, handlers
from app.engine.batches.wiring import wiring
from app.engine.domain import Effect, Lockable
from app.engine.health import queue, server
from app.engine.inspect.invariants import ENGINE
from app.engine.queue import ordering
from app.logistics import checkups as checkups_logistics
from app.logistics import effects as robots
from app.logistics import lookup, wanted
from app.logistics.invariants import LOGISTICS
from app.logistics.results import orders_of
from app.logistics.store import ROBOT_JOBS
from events import order

_JOBS = wiring(
    ROBOT_JOBS,
    Effect(
        queue=robots.ROBOTS_QUEUE,
        lanes=robots.lanes,
        prepare=robots.prepare,
        look=wanted.look,
        call=robots.enter_order,
        give_up=robots.give_up,
        close=robots.close,
        ask=lookup.ask,
        account=robots.account_name,
    ),
)

WIRING = replace(
    _JOBS,
    handlers={**_JOBS.handlers, order.OrderUpdated: handlers.ignore},
    schemas=("tenancy", "logistics"),
    lockables=(*_JOBS.lockables, Lockable("logistics", "orders", lambda _event: None, orders_of)),
)

INVARIANTS = (*ENGINE, *ordering.INVARIANTS, *checks.invariants(ROBOT_JOBS), *LOGISTICS)
"""Everything that `python cli.py audit` looks up."""

CHECKUPS = (
    *server.SERVER,
    *queue.QUEUE,
    *checks.checkups(ROBOT_JOBS),
    *checkups_logistics.LOGISTICS,
)
"""Everything that `python cli.py doctor` looks at."""
