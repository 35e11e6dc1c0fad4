"""Sibling limit: deliveries stay short if events are slow. A batch whose worker crashed is split."""

from __future__ import annotations

import pytest
from psycopg_pool import ConnectionPool

from app import database as doors
from app.context import Connection
from app.engine.delivery.consume import consume
from app.engine.delivery.engine import Engine
from app.engine.delivery.sibling_limit import FIRST, TARGET_S, SiblingLimit
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import publish
from app.engine.routing import MOST_IN_A_ROW
from app.engine.worker.rescue import rescue
from app.settings import settings
from tests.conftest import Database
from tests.helpers.support import drain_all, scalar
from tests.helpers.toy import Outside, say

KILLER = "n37"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.1, [32, 64, 128, 256, MOST_IN_A_ROW - 1, MOST_IN_A_ROW - 1]),
        (0.01, [32, 128, MOST_IN_A_ROW - 1, MOST_IN_A_ROW - 1]),
        (TARGET_S / 2, [32, 32]),
    ],
)
def test_quick_deliveries_raise_the_limit(seconds: float, expected: list[int]) -> None:
    """By two, or by four if they are very quick, up to the size of a batch."""
    sibling_limit, taken = SiblingLimit(), []
    for _ in expected:
        taken.append(sibling_limit.current())
        sibling_limit.adjust(taken[-1] + 1, seconds)
    assert taken == expected


@pytest.mark.parametrize(
    ("events", "seconds", "left"),
    [
        (32, 0.64, 25),  # 20 ms each
        (1, 5.0, 1),  # one alone takes too long: there is always a next one
        (32, TARGET_S, FIRST),  # as wished
        (1, 0.6, 1),
    ],
)
def test_a_slow_delivery_lowers_the_limit(events: int, seconds: float, left: int) -> None:
    """To the number that fits into the target time, at least one."""
    sibling_limit = SiblingLimit()
    sibling_limit.adjust(events, seconds)
    assert sibling_limit.current() == left


def fetch(connection: Connection) -> Delivery:
    """Fetch the next row with a worker whose heartbeat is an hour old."""
    worker = int(scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()"))
    connection.execute(
        "UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour' WHERE id = %s", [worker]
    )
    statement = "SELECT id, attempts FROM procrastinate_fetch_job_v2(NULL, %s) WHERE id IS NOT NULL"
    row = connection.execute(statement, [worker]).fetchone()
    assert row is not None
    return Delivery(row[0], row[1], worker)


def sizes(connection: Connection) -> list[int]:
    """Return the number of events of each waiting row."""
    rows = connection.execute("SELECT id, args::text FROM public.procrastinate_jobs WHERE status = 'todo' ORDER BY id")
    return [len(open_rows([Row(*row)])) for row in rows.fetchall()]


def words(connection: Connection, delivery: Delivery) -> list[str]:
    """Return the words of a delivery's row."""
    args = scalar(connection, "SELECT args::text FROM public.procrastinate_jobs WHERE id = %s", delivery.row_id)
    return [letter.raw["data"]["word"] for letter in open_rows([Row(delivery.row_id, args)])]


def die(database: Database, connection: Connection, most_rescues: int) -> list[int]:
    """Deliver until a worker has the event that crashes it, and rescue that. Returns the sizes of the rows then."""
    with ConnectionPool(doors.conninfo(database.url), min_size=1, max_size=2, open=True) as pool:
        while True:
            delivery = fetch(connection)
            said = words(connection, delivery)
            if KILLER in said and (len(said) == 1 or not delivery.attempts):
                break
            consume(Engine(pool), delivery, siblings=False)
        rescue(connection, settings().model_copy(update={"most_rescues": most_rescues}))
    return sizes(connection)


def test_a_batch_whose_worker_crashed_is_split_until_the_cause_is_alone(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Into sixteen parts, then into single events. Only the cause is buried."""
    publish(connection, *[say(f"n{n}") for n in range(40)])
    most = settings().most_rescues
    assert die(database, connection, most) == [40]
    assert die(database, connection, most) == [3, 1]
    for _ in range(most - 1):
        die(database, connection, most)
    assert scalar(connection, "SELECT array_agg(event_data->'data'->>'word') FROM engine.failed_jobs") == [KILLER]
    drain_all(connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 39


def test_events_are_single_before_the_last_rescue(
    database: Database, connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event is buried for a crash that another one causes."""
    monkeypatch.setenv("TALLYMAN_MOST_RESCUES", "1")
    settings.cache_clear()
    publish(connection, *[say(f"n{n}") for n in range(40)])
    assert die(database, connection, 1) == [40]
    with ConnectionPool(doors.conninfo(database.url), min_size=1, max_size=2, open=True) as pool:
        consume(Engine(pool), fetch(connection), siblings=False)
    assert sizes(connection) == [1] * 40
