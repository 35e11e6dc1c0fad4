"""Lock order: a replay takes the ledger before letters and jobs, as every delivery does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import UUID

import pytest
from psycopg.errors import SerializationFailure

from app import database as doors
from app.context import Connection
from app.engine import letters, plans
from app.engine.delivery import Row, open_rows
from app.engine.ledger import record
from app.engine.letters import Filters
from app.engine.redelivery import End, redeliver
from app.logistics.jobs import create_robot_job
from tests.conftest import Database
from tests.logistics.conftest import Shop
from tests.logistics.test_bad_morning import lose_the_key
from tests.support import drain, scalar
from tests.waits import LIMIT_S, until_somebody_waits

_DEAD = "SELECT event_data::text FROM engine.failed_jobs WHERE resolved_at IS NULL"
_HOLD = "SELECT FROM logistics.robot_jobs WHERE id = %s FOR UPDATE"


@pytest.fixture
def job_id(connection: Connection, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """A job whose one request died."""
    lose_the_key(connection, monkeypatch, shop)
    job = create_robot_job(shop.context, shop.order(1))
    drain()
    return job.id


@pytest.fixture
def crowd(database: Database) -> Iterator[tuple[Connection, Connection, Connection]]:
    """Three more connections."""
    with ExitStack() as stack:
        one, two, three = (stack.enter_context(doors.connect(database.url, autocommit=True)) for _ in range(3))
        yield one, two, three


def test_a_replay_and_a_delivery_of_one_event_wait_in_line(
    connection: Connection, job_id: UUID, crowd: tuple[Connection, Connection, Connection]
) -> None:
    """While the replay waits for the job, a delivery enters the event: it waits, and finds it applied."""
    holder, replaying, delivering = crowd
    plan = plans.make(connection, Filters(), actor="ana")
    letters_of_plan = plans.letters(connection, plan.id)
    letter = open_rows([Row(0, scalar(connection, _DEAD))])[0]

    def replay() -> list[End]:
        with replaying.transaction():
            return redeliver(replaying, letters_of_plan)

    def deliver() -> int:
        with delivering.transaction():
            return len(record(delivering, [letter]))

    with ThreadPoolExecutor(2) as threads:
        with holder.transaction():
            holder.execute(_HOLD, [job_id])
            replayed = threads.submit(replay)
            until_somebody_waits(connection)
            delivered = threads.submit(deliver)
            until_somebody_waits(connection, 2)
        assert [end.awaited is not None for end in replayed.result(LIMIT_S)] == [True]
        assert delivered.result(LIMIT_S) == 0
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs WHERE replaced_by IS NOT NULL") == 1


def test_a_letter_that_somebody_closes_meanwhile_is_not_replayed(
    connection: Connection, job_id: UUID, crowd: tuple[Connection, Connection, Connection]
) -> None:
    """Its person decided: the replay's transaction is given up before it changes anything, and can be repeated."""
    closing, replaying, _ = crowd
    plan = plans.make(connection, Filters(), actor="ana")
    (letter,) = plans.letters(connection, plan.id)

    def replay() -> list[End]:
        with replaying.transaction():
            return redeliver(replaying, [letter])

    with ThreadPoolExecutor(1) as threads:
        with closing.transaction():
            letters.discard(closing, [letter.letter_id], note="not wanted", actor="luis")
            replayed = threads.submit(replay)
            until_somebody_waits(connection)
        with pytest.raises(SerializationFailure, match="changed by somebody else meanwhile"):
            replayed.result(LIMIT_S)
    assert replay() == [End(letter.letter_id, outcome="skipped")]
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs WHERE replay_count > 0") == 0
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE event_id = %s", letter.event_id) == 0
