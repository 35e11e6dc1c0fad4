"""Schema drift: Procrastinate's objects that differ from those of the installed package."""

from __future__ import annotations

import psycopg
import pytest

from app.context import Connection
from app.engine.health.schema_drift import Drift, drifts
from tests.conftest import Database
from tests.helpers.health_fixtures import fault, of
from tests.helpers.support import scalar
from tests.helpers.toy import Outside

INDEX = "procrastinate_jobs_queue_name_idx_v1"


TRIGGER = "procrastinate_jobs_notify_queue_job_inserted_v1"


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (
            f"DROP INDEX public.{INDEX}",
            f"CREATE INDEX {INDEX} ON public.procrastinate_jobs (queue_name)",
            ("problem", f"index {INDEX} is missing"),
        ),
        (
            "CREATE INDEX mine ON public.procrastinate_jobs (task_name)",
            "DROP INDEX public.mine",
            ("warning", "index mine is added"),
        ),
        (
            f"ALTER TABLE public.procrastinate_jobs DISABLE TRIGGER {TRIGGER}",
            f"ALTER TABLE public.procrastinate_jobs ENABLE TRIGGER {TRIGGER}",
            ("problem", f"trigger procrastinate_jobs.{TRIGGER} is changed"),
        ),
        (
            "ALTER TABLE public.procrastinate_jobs ALTER priority SET DEFAULT 5",
            "ALTER TABLE public.procrastinate_jobs ALTER priority SET DEFAULT 0",
            ("problem", "column procrastinate_jobs.priority is changed"),
        ),
    ],
    ids=["missing", "added", "switched off", "changed"],
)
def test_a_changed_queue_schema_is_found(
    database: Database, outside: Outside, worker: int, begin: str, end: str, expected: tuple[str, str]
) -> None:
    """Object by object. A missing or changed object is a problem, an added one a warning."""
    with fault(database.owner_url, begin, end):
        ((level, what),) = of("queue schema")
    assert (level, what.partition(": ")[2]) == expected


def test_a_changed_function_is_found(database: Database, outside: Outside, worker: int) -> None:
    """By its name and arguments; its source is compared."""
    with psycopg.connect(database.owner_url) as owner:
        name = "procrastinate_unregister_worker_v1(worker_id bigint)"
        definition = scalar(owner, "SELECT pg_get_functiondef('procrastinate_unregister_worker_v1'::regproc)")
    with fault(database.owner_url, definition.replace("DELETE", "DELETE /* later */"), definition):
        assert of("queue schema") == [("problem", f"not as the installed package has it: function {name} is changed")]


def test_drift_is_listed_by_kind_and_name(database: Database, connection: Connection) -> None:
    """Nothing differs in a migrated database. The comparison leaves no schema behind."""
    assert drifts(database.owner_url) == []
    rename = "ALTER INDEX public.{} RENAME TO {}"
    with fault(database.owner_url, rename.format(INDEX, "mine"), rename.format("mine", INDEX)):
        assert drifts(database.owner_url) == [Drift("added", "index", "mine"), Drift("missing", "index", INDEX)]
    assert scalar(connection, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tallyman%%'") == 0


def test_only_an_owner_can_compare(database: Database) -> None:
    """Another login may not create the schema to compare with."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        drifts(database.url)
