"""A dead request with a copy whose call is in progress: a replay must not request its next attempt."""

from __future__ import annotations

from uuid import UUID

import pytest
from psycopg.rows import scalar_row

from app.context import Connection
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.redeliver import redeliver
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.publish import put_back
from app.logistics.jobs import create_robot_job
from events import Event
from tests.helpers.sealing_keys import lose_the_key
from tests.helpers.shops import Shop
from tests.helpers.support import drain, scalar

_DEAD = "SELECT event_data::text FROM engine.failed_jobs WHERE resolved_at IS NULL"
_NEWEST = "SELECT max(id) FROM public.procrastinate_jobs"
_TAKE = "UPDATE public.procrastinate_jobs SET status = 'doing' WHERE id = %s"
_CALL = "INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (%s, %s, 0)"
_OVER = "DELETE FROM public.procrastinate_jobs WHERE id = %s"


def call_a_copy(connection: Connection) -> tuple[UUID, int]:
    """Let a delivery make the call of a copy of the dead letter. Returns the ids of event and row."""
    letter = open_rows([Row(0, scalar(connection, _DEAD))])[0]
    assert isinstance(letter.event, Event)
    put_back(connection, [(letter.event, letter.raw)], delay=0, attempt=0)
    row_id = int(scalar(connection, _NEWEST))
    connection.execute(_TAKE, [row_id])
    connection.execute(_CALL, [letter.event.id, row_id])
    return letter.event.id, row_id


@pytest.fixture
def dead(connection: Connection, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead request."""
    lose_the_key(connection, monkeypatch, shop)
    create_robot_job(shop.context, shop.order(1))
    drain()


def test_a_plan_blocks_the_letter(connection: Connection, dead: None) -> None:
    """Until the call has ended."""
    _, row_id = call_a_copy(connection)
    before = plans.make(connection, Filters(), actor="ana")
    assert [letter.class_ for letter in plans.letters(connection, before.id)] == ["blocked"]
    connection.execute(_OVER, [row_id])
    after = plans.make(connection, Filters(), actor="ana")
    assert [letter.class_ for letter in plans.letters(connection, after.id)] == ["in_doubt"]


def test_a_replay_skips_the_letter(connection: Connection, dead: None) -> None:
    """Although it was planned before. The call is left to the copy, and the letter stays dead."""
    plan = plans.make(connection, Filters(), actor="ana")
    event_id, row_id = call_a_copy(connection)
    with connection.transaction():
        (end,) = redeliver(connection, plans.letters(connection, plan.id))
    assert end.outcome == "skipped"
    calls = connection.cursor(row_factory=scalar_row).execute("SELECT row_id FROM engine.calls").fetchall()
    assert calls == [row_id]
    assert scalar(connection, "SELECT event_id FROM engine.failed_jobs WHERE resolved_at IS NULL") == event_id
