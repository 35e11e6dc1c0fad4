"""Realtime: the logical stream that Supabase sends to browsers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from app.context import Connection, Context
from app.logistics.jobs import create_robot_job, get_job_with_items, retry_failed_items
from app.simulators.portal import Portal, serve
from tests.conftest import Database
from tests.helpers.factories import Workspace
from tests.helpers.robot_results import failure, success, update_job_item_results
from tests.helpers.shops import equip
from tests.helpers.support import drain

_READ = """
SELECT data FROM pg_logical_slot_get_binary_changes('tallyman_test', NULL, NULL,
    'proto_version', '1', 'publication_names', 'supabase_realtime')
"""
_VERBS = {b"I": "insert", b"U": "update", b"D": "delete", b"T": "truncate"}


@dataclass(frozen=True, slots=True)
class Stream:
    """A subscriber of the publication."""

    connection: Connection

    def read(self) -> Counter[tuple[str, str]]:
        """Return the number of changes by table and verb since the last read."""
        tables: dict[bytes, str] = {}
        seen: Counter[tuple[str, str]] = Counter()
        for (message,) in self.connection.execute(_READ):
            kind, oid = message[:1], message[1:5]
            if kind == b"R":
                schema, table, _ = message[5:].split(b"\0", 2)
                tables[oid] = f"{schema.decode()}.{table.decode()}"
            elif kind in _VERBS:
                seen[tables[oid], _VERBS[kind]] += 1
        return seen


@pytest.fixture
def stream(database: Database) -> Iterator[Stream]:
    """A temporary replication slot."""
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('tallyman_test', 'pgoutput')")
        try:
            yield Stream(connection)
        finally:
            connection.execute("SELECT pg_drop_replication_slot('tallyman_test')")


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    """A portal, because accounts need an address."""
    with serve() as running:
        yield running


def test_a_browser_follows_the_items_of_a_job_and_nothing_else(
    stream: Stream, connection: Connection, workspace: Workspace, portal: Portal
) -> None:
    """Every insert and update of an item. Orders, jobs, credentials and the queue are left out."""
    shop = equip(connection, workspace.id, portal)
    order_ids = shop.order(5)
    assert stream.read() == Counter()
    job = create_robot_job(shop.context, order_ids)
    assert stream.read() == {("logistics.robot_job_items", "insert"): 5}
    drain()
    seen = stream.read()
    assert set(seen) == {("logistics.robot_job_items", "update")}
    assert seen["logistics.robot_job_items", "update"] == 10  # each begun, each done
    again = create_robot_job(shop.context, order_ids)
    items = get_job_with_items(shop.context, again.id).items
    update_job_item_results(shop.context, [failure(items[0]), *(success(item) for item in items[1:])])
    retry_failed_items(Context.start(connection, workspace.id), again.id)
    assert stream.read() == {
        ("logistics.robot_job_items", "insert"): 5,
        ("logistics.robot_job_items", "update"): 6,
    }
    assert job.id != again.id


def test_a_rolled_back_change_is_not_sent(
    stream: Stream, connection: Connection, workspace: Workspace, portal: Portal
) -> None:
    """The stream has commits only."""
    shop = equip(connection, workspace.id, portal)
    order_ids = shop.order(2)
    with connection.transaction(force_rollback=True):
        create_robot_job(shop.context, order_ids)
    assert stream.read() == Counter()


def test_the_publication_holds_one_table(database: Database) -> None:
    """A new table in it must be added on purpose."""
    with psycopg.connect(database.superuser_url) as connection:
        rows = connection.execute(
            "SELECT schemaname::text, tablename::text FROM pg_publication_tables WHERE pubname = 'supabase_realtime'"
        ).fetchall()
    assert rows == [("logistics", "robot_job_items")]
