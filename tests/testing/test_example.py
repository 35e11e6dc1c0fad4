"""The example of docs/testing.md: a handler with a bug, the message of crash_everywhere, and the corrected handler."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

import events
from app import database as doors
from app.context import HandlerContext
from app.testing.crashes import crash_everywhere
from events import Event, Payload
from events.base import event_type
from tests.conftest import Database
from tests.helpers.toy import NOW

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


@event_type("depot/parcel.weighed")
class ParcelWeighed(Payload):
    """A parcel is on the scales of a depot."""

    depot: str
    grams: int


ADD = """
INSERT INTO depot.totals AS t (depot, grams) VALUES (%s, %s)
ON CONFLICT (depot) DO UPDATE SET grams = t.grams + excluded.grams
"""


def weighed_at_once(_context: HandlerContext, weighed: list[Event[ParcelWeighed]]) -> tuple[()]:
    """Add the parcels to their depots' totals, where everybody sees them at once."""
    with doors.connect(autocommit=True) as connection:
        for event in weighed:
            connection.execute(ADD, [event.data.depot, event.data.grams])
    return ()


def weighed_once(context: HandlerContext, weighed: list[Event[ParcelWeighed]]) -> tuple[()]:
    """Add the parcels to their depots' totals."""
    for event in weighed:
        context.connection.execute(ADD, [event.data.depot, event.data.grams])
    return ()


FOUND = """
when the process dies before point 4:

    COMMIT

the end differs: - is undisturbed only, + is only here
depot.totals
  - {"depot": "Cali", "grams": 1200}
  + {"depot": "Cali", "grams": 2400}
""".strip()


@pytest.fixture
def depot(database: Database) -> Database:
    """The database with a table of totals."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("""
            CREATE SCHEMA IF NOT EXISTS depot;
            CREATE TABLE IF NOT EXISTS depot.totals (depot text PRIMARY KEY, grams integer NOT NULL);
            ALTER TABLE depot.totals ENABLE ROW LEVEL SECURITY;
            ALTER TABLE depot.totals FORCE ROW LEVEL SECURITY;
            DROP POLICY IF EXISTS totals_service ON depot.totals;
            CREATE POLICY totals_service ON depot.totals TO service_role USING (true) WITH CHECK (true);
            GRANT USAGE ON SCHEMA depot TO service_role;
            GRANT ALL ON depot.totals TO service_role;
        """)
    return database


def parcel(depot: str, grams: int) -> Event[ParcelWeighed]:
    """Return a parcel as an event."""
    return events.new(ParcelWeighed(depot=depot, grams=grams), now=NOW, subject=UUID(int=1), tenant=None)


def test_the_wrong_handler_is_detected(depot: Database) -> None:
    """The page shows the real message. The number of the crash point may differ."""
    with pytest.raises(AssertionError) as caught:
        crash_everywhere(depot, weighed_at_once, [parcel("Cali", 1200)])
    assert re.sub(r"point \d+", "point 4", str(caught.value)) == re.sub(r"point \d+", "point 4", FOUND)


def test_the_right_handler_passes(depot: Database) -> None:
    """With several parcels in one row of the queue, and in rows of their own."""
    parcels = [parcel("Cali", 1200), parcel("Cali", 300), parcel("Bogotá", 50)]
    crash_everywhere(depot, weighed_once, parcels)
    crash_everywhere(depot, weighed_once, parcels, batch_size=1)


@pytest.mark.parametrize("part", [weighed_at_once, weighed_once], ids=lambda part: part.__name__)
def test_the_page_shows_this_code(part: Callable[..., object]) -> None:
    """The page's code is the tested code."""
    assert inspect.getsource(part).strip() in PAGE.read_text(encoding="utf-8")


def test_the_page_shows_this_message() -> None:
    """Character for character."""
    assert FOUND in PAGE.read_text(encoding="utf-8")
