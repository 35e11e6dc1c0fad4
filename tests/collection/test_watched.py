"""Runs as rows that people watch. tests/web has the streams."""

from __future__ import annotations

import asyncio

import psycopg

from app import database as doors
from app.collection.progress import RunProgress, progress_of
from app.collection.watched import RUNS, find_progress
from events import new_id
from tests.collection.conftest import Team
from tests.conftest import Database
from tests.helpers.support import scalar


def test_a_person_finds_the_progress_of_runs_of_the_own_organisation(team: Team, other: Team) -> None:
    """Another organisation's run is as unknown as one that does not exist."""
    mine, theirs = team.start(), other.start()
    with doors.as_person(team.connection, team.user_id):
        assert find_progress(team.connection, mine.id) == progress_of(mine)
        assert find_progress(team.connection, theirs.id) is None
        assert find_progress(team.connection, new_id()) is None


def test_the_states_of_several_runs_are_read_at_once(team: Team, other: Team, database: Database) -> None:
    """Of any organisation. Unknown ids are left out. The table notifies of its changes."""
    some = [team.start(), other.start()]

    async def read() -> list[RunProgress]:
        async with await psycopg.AsyncConnection.connect(doors.conninfo(database.url)) as connection:
            return list(await RUNS.read(connection, [*(run.id for run in some), new_id()]))

    found = asyncio.run(read())
    assert sorted(found, key=str) == sorted((progress_of(run) for run in some), key=str)
    notifies = "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname LIKE %s"
    assert scalar(team.connection, notifies, RUNS.table, "%progress%") == 2
