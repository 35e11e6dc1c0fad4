"""Every operation of an admin, and a promotion, is atomic, wherever its process crashes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from uuid import UUID

import psycopg
import pytest

from app.context import Connection, Context
from app.engine.dead_letters import manage
from app.engine.dead_letters.letters import find
from app.engine.delivery.bury import bury
from app.engine.queue import delayed
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.publish import publish
from app.errors import Permanent
from app.logistics.cancel import cancel_orders
from app.logistics.jobs import cancel_job, record_item, retry_failed_items
from app.testing import wires
from app.testing.deliver import deliver
from app.testing.faults import Died, Fault, Strike, Watch
from app.testing.published import everything
from app.testing.state import State, snapshot
from app.testing.tables import Kept, keep
from tests.conftest import Database
from tests.helpers.robot_results import broken, failure, said, submitted
from tests.helpers.shops import Shop
from tests.helpers.support import scalar

_ATTEND = "SELECT pg_advisory_lock_shared(hashtextextended('app.testing', 0))"
_ALONE = """
SELECT pg_advisory_lock(hashtextextended('app.testing', 0)), pg_advisory_unlock(hashtextextended('app.testing', 0))
"""
_ROWS = "SELECT row_id, args::text FROM engine.waiting() WHERE task_name = 'perform'"
_DUE = "UPDATE engine.delayed SET due_at = now()"

Operation = Callable[[Context], object]


def cancelling_a_job(shop: Shop) -> Operation:
    """Cancel a job of two orders that no robot has begun."""
    job, _ = submitted(shop, 2)
    return lambda context: cancel_job(context, job.id, actor="ana", reason="a mistake")


def cancelling_orders(shop: Shop) -> Operation:
    """Cancel two orders of an open job."""
    _, items = submitted(shop, 2)
    return lambda context: cancel_orders(context, [item.order_id for item in items])


def recording_an_item(shop: Shop) -> Operation:
    """Record the only item of a job."""
    _, (item,) = submitted(shop, 1)
    return lambda context: record_item(context, item.id, actor="ana", reason="a call", tracking_number="T-1")


def retrying(shop: Shop) -> Operation:
    """Retry an item that has failed."""
    job, (item,) = submitted(shop, 1)
    record_item(shop.context, item.id, actor="ana", reason="a call", error="no")
    return lambda context: retry_failed_items(context, job.id)


def _dead_request(shop: Shop) -> UUID:
    """Create a dead request. Returns the letter's id."""
    submitted(shop, 1)
    deliver(shop.connection, queues=["events"])
    (letter,) = open_rows(Row(*row) for row in shop.connection.execute(_ROWS))
    shop.connection.execute("DELETE FROM public.procrastinate_jobs")
    bury(shop.connection, [(letter, Permanent("no"))])
    found: UUID = scalar(shop.connection, "SELECT id FROM engine.failed_jobs")
    return found


def editing(shop: Shop) -> Operation:
    """Edit a dead request."""
    letter = _dead_request(shop)
    data = manage.current_data(find(shop.connection, letter))
    return lambda context: manage.edit(context.connection, letter, data, reason=None, actor="ana")


def discarding(shop: Shop) -> Operation:
    """Discard a dead request whose item waits for it."""
    letter = _dead_request(shop)
    return lambda context: manage.discard(context.connection, [letter], note="of no use", actor="ana")


def promoting(shop: Shop) -> Operation:
    """Promote three rows that are due."""
    _, items = submitted(shop, 3)
    publish(shop.connection, *[said(shop, failure(item)) for item in items], batch_size=1, delay=60)
    shop.connection.execute(_DUE)
    return lambda context: delayed.promote(context.connection)


OPERATIONS = [
    cancelling_a_job,
    cancelling_orders,
    recording_an_item,
    retrying,
    editing,
    discarding,
    promoting,
]


# A process that is dead closes no cursor at the server.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make", OPERATIONS, ids=lambda make: str(make.__name__))
@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.ANSWER_LOST], ids=lambda fault: str(fault.name))
def test_each_operation_is_atomic(
    database: Database, shop: Shop, fault: Fault, make: Callable[[Shop], Operation]
) -> None:
    """The process crashes before any statement, or the answer to its commit is lost. Then it is repeated."""
    operation = make(shop)
    with keep(database.superuser_url) as kept:
        before = _state(shop.connection, kept)
        _strike(database, shop, operation, None)
        after = _state(shop.connection, kept)
        assert before.differences(after)
        for at in count():
            kept.restore()
            if _strike(database, shop, operation, Strike(fault, at)).struck is None:
                break
            ended = _state(shop.connection, kept)
            assert broken(shop.connection) == []
            if ended.differences(after):
                assert ended.differences(before) == []
                operation(shop.context)
                assert _state(shop.connection, kept).differences(after) == []
        assert at, "no statement was struck"


def _strike(database: Database, shop: Shop, operation: Operation, strike: Strike | None) -> Watch:
    """Run an operation on a watched connection. Everything is rolled back afterwards."""
    watch = Watch(strike)
    with (
        wires.pool(watch, database.url, _ATTEND) as pool,
        suppress(Died, psycopg.OperationalError),
        pool.connection() as connection,
    ):
        connection.autocommit = True
        operation(Context.start(connection, shop.workspace_id))
    shop.connection.execute(_ALONE)
    return watch


def _state(connection: Connection, kept: Kept) -> State:
    """Return the state of the database: the domain's rows, where the events are, and what waits for what."""
    waits = "SELECT place, task_name, count(*) FROM engine.waiting() GROUP BY 1, 2"
    return snapshot(connection, everything(connection), kept.show(()), sorted(connection.execute(waits).fetchall()))
