"""Sellers: one row a normalised name, counted once a run, correct with several recorders at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from uuid import UUID

import pytest

from app import database as doors
from app.collection.sellers import Seen, Seller, list_sellers
from app.collection.sellers import record_seen as recorded
from app.context import Connection, Context
from app.errors import InvalidInput
from app.testing.database import Database
from tests.collection.conftest import Team
from tests.helpers.sellers import make_run, seen
from tests.helpers.waits import until_somebody_waits


def record_seen(connection: Connection, found: Sequence[Seen]) -> None:
    """Record sellers in a transaction."""
    with connection.transaction():
        recorded(connection, found)


def by_name(context: Context) -> dict[str, Seller]:
    """The organisation's sellers by normalised name."""
    return {one.normalized_name: one for one in list_sellers(context)}


def test_a_seller_is_one_row_a_normalised_name(team: Team) -> None:
    """Two spellings with one normalised name are one seller, which shows the newest spelling."""
    run_id = make_run(team)
    record_seen(
        team.connection, [seen(team, run_id, "Ana Shop", "ana shop"), seen(team, run_id, "ANA-SHOP", "ana shop")]
    )
    (one,) = list_sellers(team.context)
    assert (one.display_name, one.times_seen, one.first_seen_run_id, one.last_seen_run_id) == (
        "ANA-SHOP",
        1,
        run_id,
        run_id,
    )


def test_times_seen_counts_runs_and_not_pages(team: Team) -> None:
    """Three pages of a first run, one of a second, and again one of the first: two runs."""
    first, second = make_run(team), make_run(team)
    for run_id in (first, first, first, second, first):
        record_seen(team.connection, [seen(team, run_id, "Ana")])
    (one,) = list_sellers(team.context)
    assert (one.times_seen, one.first_seen_run_id, one.last_seen_run_id) == (2, first, second)


def test_runs_of_one_batch_are_all_counted(team: Team) -> None:
    """One call may hold pages of several runs."""
    runs = [make_run(team) for _ in range(3)]
    record_seen(team.connection, [seen(team, run_id, "Ana") for run_id in runs])
    assert by_name(team.context)["ana"].times_seen == 3


def test_metadata_is_refreshed_and_never_erased(team: Team) -> None:
    """A page without a score keeps the score that is stored."""
    run_id = make_run(team)
    record_seen(team.connection, [seen(team, run_id, "Ana", platform_id="u1", feedback_score=10, item_count=5)])
    record_seen(team.connection, [seen(team, run_id, "Ana", feedback_score=11)])
    one = by_name(team.context)["ana"]
    assert (one.platform_id, one.feedback_score, one.item_count) == ("u1", 11, 5)


def test_organisations_do_not_share_sellers(team: Team, other: Team) -> None:
    """The same name is a seller of each organisation."""
    record_seen(team.connection, [seen(team, make_run(team), "Ana"), seen(other, make_run(other), "Ana")])
    assert [one.times_seen for one in list_sellers(team.context)] == [1]
    assert [one.times_seen for one in list_sellers(other.context)] == [1]
    assert list_sellers(team.context)[0].id != list_sellers(other.context)[0].id


def test_a_run_that_is_deleted_leaves_the_seller(team: Team) -> None:
    """The seller stays, and names no run that is gone."""
    run_id = make_run(team)
    record_seen(team.connection, [seen(team, run_id, "Ana")])
    team.connection.execute("DELETE FROM collection.collection_runs WHERE id = %s", [run_id])
    one = by_name(team.context)["ana"]
    assert (one.first_seen_run_id, one.last_seen_run_id) == (None, None)


def test_nothing_seen_is_nothing_to_do(team: Team) -> None:
    """A page without sellers runs no statement."""
    record_seen(team.connection, [])
    assert list_sellers(team.context) == []


def test_sellers_are_listed_page_by_page(team: Team) -> None:
    """Keyset pages by normalised name hold each seller once; a search narrows them."""
    record_seen(team.connection, [seen(team, make_run(team), f"name {n}") for n in range(5)])
    first = list_sellers(team.context, limit=3)
    rest = list_sellers(team.context, limit=3, after=first[-1].id)
    assert [one.display_name for one in first + rest] == [f"name {n}" for n in range(5)]
    assert [one.display_name for one in list_sellers(team.context, search="e 4")] == ["name 4"]
    with pytest.raises(InvalidInput, match="limit: must be 1 to 1000, not 0"):
        list_sellers(team.context, limit=0)


def test_concurrent_recorders_count_every_run_once(team: Team, database: Database) -> None:
    """Eight connections record the same sellers in opposite orders, each for a run of its own, without a deadlock."""
    names = [f"seller {n}" for n in range(20)]
    runs = [make_run(team) for _ in range(8)]
    start = threading.Barrier(len(runs))
    failed: list[Exception] = []

    def record(run_id: UUID, order: Sequence[str]) -> None:
        try:
            with doors.connect(database.url, autocommit=True) as connection:
                start.wait(30)
                for _ in range(3):
                    record_seen(connection, [seen(team, run_id, name) for name in order])
        except Exception as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [
        threading.Thread(target=record, args=(run_id, names if n % 2 else names[::-1])) for n, run_id in enumerate(runs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert [one.times_seen for one in list_sellers(team.context)] == [8] * 20


def test_the_count_sees_what_was_committed_while_it_waited(team: Team, database: Database) -> None:
    """A recorder that waits for another one's commit counts that run too."""
    first, second = make_run(team), make_run(team)
    record_seen(team.connection, [seen(team, make_run(team), "Ana")])

    def record() -> None:
        with doors.connect(database.url, autocommit=True) as connection:
            record_seen(connection, [seen(team, second, "Ana")])

    thread = threading.Thread(target=record)
    with doors.connect(database.url, autocommit=True) as watcher:
        with team.connection.transaction():
            recorded(team.connection, [seen(team, first, "Ana")])
            thread.start()
            until_somebody_waits(watcher)
        thread.join(30)
    assert list_sellers(team.context)[0].times_seen == 3
