"""The effect of messages: the processor of the content type runs, and a job ends whatever it does."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from app.engine.dead_letters import letters, manage
from app.engine.dead_letters.letters import Filters
from app.errors import Conflict
from app.messaging.fixtures.chat import Chat
from app.settings import using
from app.testing.published import assert_published
from events.messaging import JobCompleted, ProcessingCompleted, ProcessingRequested
from tests.helpers import processors
from tests.helpers.dead_letters import dead
from tests.helpers.support import deliver, drain_all, scalar


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Few attempts, which follow each other at once."""
    processors.seen.clear()
    with using(most_attempts=2, retry_base=0.01):
        yield


def test_the_default_processor_stores_the_normalised_content(chat: Chat) -> None:
    """And `message/job.completed` is published once."""
    received = chat.post(Body="see https://example.org")
    drain_all(chat.connection)
    job = chat.job(received)
    assert (job.status, job.content_type) == ("complete", "text")
    assert job.content == {
        "type": "text",
        "text": "see https://example.org",
        "links": ["https://example.org"],
        "media": [],
    }
    assert_published(chat.connection, JobCompleted, count=1, job_id=job.id, status="complete", attempt=0)


def test_a_registered_processor_gets_the_messages_of_its_type(chat: Chat) -> None:
    """And no others. Its reference is the job's and the attempt's."""
    with using(message_processors=f"link={processors.HERE}:describe"):
        text, link = chat.post(), chat.post(Body="https://example.org")
        drain_all(chat.connection)
    assert chat.job(link).content == {"links": 1, "attempt": 0, "in_doubt": False}
    assert processors.seen == [f"{link.job_id}.0"]
    assert (chat.job(text).content or {})["text"] == "hello"


def test_a_transient_error_is_retried(chat: Chat) -> None:
    """With the same reference."""
    with using(message_processors=f"text={processors.HERE}:wait"):
        received = chat.post()
        drain_all(chat.connection)
    assert chat.job(received).content == {"calls": 2}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("crash", "KeyError: 'a\\x00b'"),
        ("unreadable", "TypeError: 'int' object is not iterable"),
        ("unstorable", "CannotBeRecorded: "),
    ],
)
def test_a_job_fails_whatever_its_processor_raises(chat: Chat, name: str, why: str) -> None:
    """After the last attempt, with a dead letter `message/webhook` and no other."""
    with using(message_processors=f"text={processors.HERE}:{name}"):
        received = chat.post()
        drain_all(chat.connection)
    job = chat.job(received)
    assert job.status == "failed"
    assert (job.error_message or "").startswith(why)
    (letter,) = letters.select(chat.connection, Filters())
    assert (letter.job_type, letter.error_class, letter.error_message) == (
        "message/webhook",
        "ProcessingFailed",
        job.error_message,
    )
    assert_published(chat.connection, JobCompleted, count=1, job_id=job.id, status="failed")


def test_a_message_waits_for_a_processor_that_can_be_imported(chat: Chat) -> None:
    """No attempt is spent, and nothing fails."""
    with using(message_processors="text=tests.nowhere:describe", most_attempts=1):
        received = chat.post()
        deliver(chat.connection, queues=["events"])
        deliver(chat.connection, queues=["messages"])
    assert chat.job(received).status == "processing"
    chat.connection.execute("UPDATE engine.delayed SET due_at = now()")
    drain_all(chat.connection)
    assert chat.job(received).status == "complete"


def test_a_request_of_an_earlier_attempt_is_not_processed(chat: Chat) -> None:
    """Nor one of a job that has ended or does not exist."""
    received = chat.post()
    drain_all(chat.connection)
    late = ProcessingRequested(job_id=received.job_id, attempt=0, content_type="text")
    with using(message_processors=f"text={processors.HERE}:describe"):
        chat.say(late, late.model_copy(update={"attempt": 4}), late.model_copy(update={"job_id": uuid4()}))
        drain_all(chat.connection)
    assert processors.seen == []
    assert_published(chat.connection, ProcessingCompleted, count=1)


def test_a_discarded_request_fails_its_job(chat: Chat) -> None:
    """A request whose workers crashed leaves the job open: it cannot be resolved, but discarded."""
    received = chat.post()
    deliver(chat.connection, queues=["events"])
    chat.connection.execute("DELETE FROM public.procrastinate_jobs")
    request = ProcessingRequested(job_id=received.job_id, attempt=0, content_type="text")
    (letter,) = dead(chat.connection, chat.event(request))
    with pytest.raises(Conflict, match="still waits for a result"):
        manage.resolve(chat.connection, [letter.id], note="", actor="ana")
    manage.discard(chat.connection, [letter.id], note="crashes workers", actor="ana")
    job = chat.job(received)
    assert (job.status, job.error_message) == ("failed", "discarded by ana: crashes workers")
    assert_published(chat.connection, JobCompleted, count=1, status="failed")
    assert scalar(chat.connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 0
