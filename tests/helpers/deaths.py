"""Workers that crash during a call, and rescues of their deliveries."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from app import database as doors
from app.context import Connection
from app.engine.domain import Policy, Wiring
from app.engine.worker.rescue import Rescued, rescue
from app.settings import Settings, settings
from app.testing import wires, worker
from app.testing.faults import Died, Fault, Strike, Watch
from app.testing.worker import Fetched, Process
from tests.conftest import Database

_SILENCE = "UPDATE public.procrastinate_workers SET last_heartbeat = '-infinity' WHERE id = %s"


def die_in_a_call(database: Database, connection: Connection, wiring: Wiring, fault: Fault) -> Fetched | None:
    """Deliver the next due row with a new worker that crashes at its first call.

    Returns the row; None if nothing is due. A delivery without a call ends without a crash.
    """
    worker_id = worker.register(connection)
    fetched = worker.fetch(connection, worker_id)
    if fetched is None:
        return None
    watch = Watch(Strike(fault, 0))
    watched = {payload: wires.watched(effect, watch) for payload, effect in wiring.effects.items()}
    with doors.pool(max_size=4, address=database.url) as pool, closing(Process(pool, Policy())) as process:
        try:
            process.deliver(fetched, replace(wiring, effects=watched))
        except Died:
            connection.execute(_SILENCE, [worker_id])
    return fetched


def rescued(connection: Connection, **limits: float) -> list[Rescued]:
    """Rescue deliveries under these limits. Returns the rescued rows."""
    limited: Settings = settings().model_copy(update=limits)
    return rescue(connection, limited)
