"""Each statement takes as many rows as asked for, also with outdated statistics."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from app.context import Connection
from tests.conftest import Database
from tests.helpers.support import scalar

FILL = """
INSERT INTO public.procrastinate_jobs (queue_name, task_name, args)
SELECT 'robots', 'perform', '{"share": "a"}' FROM generate_series(1, %s)
"""
SCHEDULE = "UPDATE public.procrastinate_jobs SET scheduled_at = now() + interval '1 day'"
DOING = "SELECT count(*) FROM public.procrastinate_jobs WHERE status = 'doing'"
TAKE_FIRST = """
UPDATE public.procrastinate_jobs SET status = 'doing' WHERE id = (SELECT min(id) FROM public.procrastinate_jobs)
"""
READ = "SELECT pg_stat_get_xact_tuples_returned('public.procrastinate_jobs_pkey'::regclass)"
LEFT = "SELECT count(*) FROM public.procrastinate_jobs"


@pytest.fixture
def queue(database: Database, connection: Connection) -> Iterator[Connection]:
    """A queue with five rows more than its statistics say, which makes the planner use another join."""
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        admin.execute("TRUNCATE public.procrastinate_jobs CASCADE")
        connection.execute(FILL, [1])
        admin.execute("VACUUM ANALYZE public.procrastinate_jobs")
        connection.execute(FILL, [5])
        yield connection
        admin.execute("TRUNCATE public.procrastinate_jobs CASCADE")
        admin.execute("VACUUM ANALYZE public.procrastinate_jobs")


def test_a_worker_takes_one_row_of_a_share(queue: Connection) -> None:
    """One row for each fetch."""
    for taken in range(1, 4):
        assert scalar(queue, "SELECT (engine.fetch_share('robots', 'a', NULL)).id IS NOT NULL")
        assert scalar(queue, DOING) == taken


def test_a_delivery_takes_no_more_siblings_than_it_may(queue: Connection) -> None:
    """Its own row and two of five siblings."""
    own = scalar(queue, "SELECT (engine.fetch_share('robots', 'a', NULL)).id")
    assert len(queue.execute("SELECT * FROM engine.claim(%s, 0, NULL, 2)", [own]).fetchall()) == 3
    assert scalar(queue, LEFT) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT engine.fetch_share('robots', 'a', NULL)",
        "SELECT * FROM engine.fetch_effect(NULL, '{robots}', NULL, '{robots}', 'robots', 'a', '', 16, 8, '{}')",
        "SELECT * FROM engine.claim((SELECT min(id) FROM public.procrastinate_jobs), 0, NULL, 10)",
    ],
)
def test_a_row_is_looked_up_by_its_id(database: Database, queue: Connection, statement: str) -> None:
    """The list of ids is not joined with the whole queue: of 2,000 rows a few are read.

    The statistics say that a queue of many pages holds no row, as after an ANALYZE of a queue that was worked off.
    """
    queue.execute(FILL, [2000])
    queue.execute("DELETE FROM public.procrastinate_jobs")
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        admin.execute("ANALYZE public.procrastinate_jobs")
    queue.execute(FILL, [2000])
    queue.execute(TAKE_FIRST)
    with queue.transaction():
        before = scalar(queue, READ)
        assert queue.execute(statement.encode()).fetchall()
        assert scalar(queue, READ) - before < 100


def test_no_more_rows_are_moved_than_asked_for(queue: Connection) -> None:
    """Two of six scheduled rows."""
    queue.execute(SCHEDULE)
    assert scalar(queue, "SELECT engine.set_aside(2)") == 2
    assert scalar(queue, LEFT) == 4
