"""SQL of runs: their rows, and the locks on them."""

from __future__ import annotations

from dataclasses import fields

from app.collection import runs, store
from app.collection.store import Run
from events import new_id
from tests.collection.conftest import Team
from tests.helpers.support import scalar

_COLUMNS = """
SELECT array_agg(attname::text) FROM pg_attribute
 WHERE attrelid = 'collection.collection_runs'::regclass AND attnum > 0 AND NOT attisdropped
"""


def test_a_row_has_every_column(team: Team) -> None:
    """Under its own name."""
    assert {field.name for field in fields(Run)} == set(scalar(team.connection, _COLUMNS))


def test_runs_are_locked_in_the_order_of_their_ids(team: Team, other: Team) -> None:
    """Of any organisation. Unknown ids are left out, and no id takes no lock."""
    made = [team.create(), other.create(), team.create()]
    with team.connection.transaction():
        locked = store.lock_runs(team.connection, [*(run.id for run in reversed(made)), new_id()])
    assert [run.id for run in locked] == sorted(run.id for run in made)
    assert store.lock_runs(team.connection, []) == []


def test_a_run_that_ended_is_not_cancelled_again(team: Team) -> None:
    """The statement itself leaves it as it is. A pause and a resume do, too."""
    run = team.create()
    runs.cancel_run(team.context, run.id, actor="ana")
    before = team.get(run)
    with team.connection.transaction():
        assert store.cancel(team.connection, run.id, "ben") is None
        store.resume(team.connection, [run.id], "ben")
        store.hold(team.connection, run.id, "ben")
        assert store.start(team.connection, [run.id]) == []
    assert team.get(run) == before


def test_the_organisations_of_runs_are_read_without_locks(team: Team, other: Team) -> None:
    """By the run's id. Unknown runs are left out."""
    mine, theirs = team.create(), other.create()
    found = store.owners(team.connection, [mine.id, theirs.id, new_id()])
    assert found == {mine.id: team.org_id, theirs.id: other.org_id}
    assert store.is_user(team.connection, team.user_id)
    assert not store.is_user(team.connection, new_id())
