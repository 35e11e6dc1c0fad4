"""Submit with an idempotency key, read, list, set the status."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from app import database as doors
from app.context import Context
from app.engine import batches
from app.engine.batches.rules import TRANSITIONS
from app.errors import Conflict, DuplicateRequest, InvalidInput, KeyReused, NotFound
from app.testing.published import everything
from events import new_id
from tests.conftest import Database
from tests.helpers.cards import PRINTS, Office
from tests.helpers.support import scalar

pytestmark = pytest.mark.usefixtures("office")


def test_a_job_its_items_and_its_event_are_one_commit(office: Office) -> None:
    """The job, the items in the given order, and one submitted event with the request's columns."""
    job = office.submit("a", "b", "c", paper="glossy")
    assert (job.status, job.total_items, job.paper, job.workspace_id) == ("pending", 3, "glossy", office.workspace_id)
    assert [(card.address, card.status, card.retry_count) for card in office.cards(job.id)] == [
        ("a", "pending", 0),
        ("b", "pending", 0),
        ("c", "pending", 0),
    ]
    assert [(one.type, one.place) for one in everything(office.connection)] == [("test/print.submitted", "waiting")]


def test_a_failed_submit_leaves_nothing(office: Office) -> None:
    """If the table refuses an item, neither job nor event exists."""
    items: list[dict[str, Any]] = [{"address": "a", "copies": 1}, {"address": None, "copies": 1}]
    with pytest.raises(Exception, match="null value"):
        batches.submit(office.context, PRINTS, items, request={"paper": "matt"})
    assert scalar(office.connection, "SELECT count(*) FROM cards.prints") == 0
    assert everything(office.connection) == []


@pytest.mark.parametrize(
    ("items", "request_", "message"),
    [
        ([], {"paper": "matt"}, "items: must not be empty"),
        ([{"address": "a"}], {"paper": "matt"}, "items: number 1 gives address, not address, copies"),
        ([{"address": "a", "copies": 1}], {}, "request: number 1 gives nothing, not paper"),
    ],
)
def test_other_columns_are_refused(office: Office, items: Any, request_: Any, message: str) -> None:
    """The error names them, and nothing is created."""
    with pytest.raises(InvalidInput) as caught:
        batches.submit(office.context, PRINTS, items, request=request_)
    assert str(caught.value) == message


def test_a_repeated_key_names_its_job(office: Office, other: Office) -> None:
    """Equal content is a duplicate, in any order. Tenants have separate keys."""
    job = office.submit("a", "b", key="day-1")
    with pytest.raises(DuplicateRequest) as same:
        office.submit("b", "a", key="day-1")
    with pytest.raises(KeyReused, match="has other content;") as reused:
        office.submit("a", key="day-1")
    with pytest.raises(KeyReused):
        office.submit("a", "b", key="day-1", paper="glossy")
    assert (same.value.job_id, reused.value.job_id) == (job.id, job.id)
    assert other.submit("a", "b", key="day-1").id != job.id


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb"])
def test_a_key_is_printable(office: Office, key: str) -> None:
    """An empty, long or unprintable key is refused."""
    with pytest.raises(InvalidInput, match="idempotency_key"):
        office.submit("a", key=key)


def test_of_two_submits_with_one_key_one_wins(database: Database, office: Office) -> None:
    """The other one waits for the commit, and then names that job."""
    said: list[object] = []

    def second() -> None:
        with doors.connect(database.url, autocommit=True) as connection:
            try:
                said.append(Office(connection, office.workspace_id).submit("a", key="k").id)
            except DuplicateRequest as error:
                said.append(error)

    with doors.connect(database.url, autocommit=True) as connection, connection.transaction():
        first = batches.submit(
            Context.start(connection, office.workspace_id),
            PRINTS,
            [{"address": "a", "copies": 1}],
            request={"paper": "matt"},
            idempotency_key="k",
        )
        thread = threading.Thread(target=second)
        thread.start()
        while not scalar(office.connection, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not said
    thread.join(30)
    (error,) = said
    assert isinstance(error, DuplicateRequest)
    assert error.job_id == first.id
    assert scalar(office.connection, "SELECT count(*) FROM cards.prints") == 1


def test_a_rolled_back_key_can_be_used(database: Database, office: Office) -> None:
    """By the submit that waits for it."""
    with doors.connect(database.url, autocommit=True) as connection, connection.transaction(force_rollback=True):
        Office(connection, office.workspace_id).submit("a", key="k")
    assert office.submit("a", key="k").idempotency_key == "k"


def test_pages_of_items(office: Office) -> None:
    """A page continues after an item, and can be filtered by status."""
    job = office.submit("a", "b", "c")
    first = batches.get_page(office.context, PRINTS, job.id, limit=2)
    last = batches.get_page(office.context, PRINTS, job.id, limit=2, after=first.next_after)
    assert [card.address for card in [*first.items, *last.items]] == ["a", "b", "c"]
    assert last.next_after is None
    assert batches.get_page(office.context, PRINTS, job.id, status="success").items == []
    with pytest.raises(
        InvalidInput, match="status: 'done' is not a status; choose one of pending, processing, success, error"
    ):
        batches.get_page(office.context, PRINTS, job.id, status="done")
    with pytest.raises(InvalidInput, match="limit: must be 1 to 1000, not 0"):
        batches.get_page(office.context, PRINTS, job.id, limit=0)


def test_jobs_are_listed_newest_first(office: Office) -> None:
    """Each page continues before the last job of the previous one."""
    made = [office.submit("a").id for _ in range(3)]
    first = batches.list_jobs(office.context, PRINTS, limit=2)
    rest = batches.list_jobs(office.context, PRINTS, limit=2, before=first[-1].id)
    assert [job.id for job in [*first, *rest]] == made[::-1]
    assert batches.list_jobs(office.context, PRINTS, status="failed") == []
    with pytest.raises(InvalidInput, match="status: 'done'"):
        batches.list_jobs(office.context, PRINTS, status="done")


def test_a_tenant_sees_its_own_jobs_alone(office: Office, other: Office) -> None:
    """Another tenant's job is `NotFound`: to read, to list, to change."""
    job = office.submit("a")
    for act in (
        lambda: batches.get_job(other.context, PRINTS, job.id),
        lambda: batches.get_page(other.context, PRINTS, job.id),
        lambda: batches.set_status(other.context, PRINTS, job.id, "failed"),
        lambda: batches.retry_failed(other.context, PRINTS, job.id),
        lambda: batches.cancel(other.context, PRINTS, job.id, actor="ann", reason="no"),
    ):
        with pytest.raises(NotFound, match="is no job of this workspace; `prints list` shows them"):
            act()
    (card,) = office.cards(job.id)
    with pytest.raises(NotFound, match="is no item of this workspace"):
        batches.record_item(other.context, PRINTS, card.id, {"status": "success"}, actor="ann", reason="saw it")
    assert batches.list_jobs(other.context, PRINTS) == []
    assert office.job(job.id) == job


@pytest.mark.parametrize("before", TRANSITIONS)
@pytest.mark.parametrize("after", TRANSITIONS)
def test_only_allowed_transitions(office: Office, before: str, after: Any) -> None:
    """Each pair of statuses is allowed, with its timestamps, or is a `Conflict` that names both."""
    job = office.submit("a")
    with office.connection.transaction(force_rollback=True):
        path: dict[str, list[Any]] = {"completed": ["processing", "completed"], "pending": []}
        for step in path.get(before, [before]):
            batches.set_status(office.context, PRINTS, job.id, step)
        if after in TRANSITIONS[before]:
            done = batches.set_status(office.context, PRINTS, job.id, after)
            assert (done.completed_at is not None) == (after in {"completed", "failed"})
            assert done.started_at is not None
        else:
            with pytest.raises(Conflict, match=f"a job that is {before} cannot become {after}"):
                batches.set_status(office.context, PRINTS, job.id, after)


def test_an_unknown_job_and_status(office: Office) -> None:
    """Each has its own error."""
    with pytest.raises(NotFound):
        batches.get_job(office.context, PRINTS, new_id())
    bad: Any = "done"
    with pytest.raises(InvalidInput, match="choose one of"):
        batches.set_status(office.context, PRINTS, office.submit("a").id, bad)
