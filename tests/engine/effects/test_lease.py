"""Lease: a delivery that was given away calls nothing more, whatever its effect looks at by itself."""

from __future__ import annotations

import asyncio

import pytest

from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.effects import calls
from app.engine.effects.execute import perform
from app.engine.queue.publish import publish
from tests.conftest import Database
from tests.engine.effects.test_execute import Blocking, fetch, play, until
from tests.helpers.toy import Outside, want

_GIVE_AWAY = "UPDATE public.procrastinate_jobs SET attempts = attempts + 1 WHERE status = 'doing'"


def test_a_delivery_that_was_given_away_calls_nothing_more(
    database: Database, connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six calls run at once; the seventh event's turn comes when another worker has the row."""
    monkeypatch.setattr(calls, "_LEASE_IS_FRESH", -1.0)
    publish(connection, *[want(f"w{n}") for n in range(7)])

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        delivery = asyncio.create_task(perform(engine, fetch(connection)))
        await until(lambda: blocking.under_way == 6)
        connection.execute(_GIVE_AWAY)
        blocking.go.set()
        assert await delivery == 0
        assert blocking.calls == 6

    play(database, outside, scenario)
