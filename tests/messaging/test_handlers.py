"""Handlers of messages: jobs begin and end once, and replayed requests make or reopen jobs."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.errors import FailingEvents
from app.messaging import handlers, intake
from app.messaging.fixtures.chat import Chat, form
from app.messaging.handlers import ProcessingFailed
from app.settings import using
from app.testing.published import assert_published
from events.messaging import JobCompleted, JobSubmitted, ProcessingCompleted, ProcessingRequested
from tests.commands.conftest import Run, run
from tests.helpers import processors
from tests.helpers.support import deliver, drain_all, scalar

__all__ = ["run"]

DEAD = "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL"
FAILS = f"text={processors.HERE}:crash"


def replay(run: Run) -> str:
    """Replay all dead letters by the commands. Returns the class that the plan gave the first of them."""
    (plan,) = run("dead", "plan", "--type", "message/webhook", "--json").rows
    done = run("dead", "replay", plan["plan"]["id"], "--yes", "--reason", "mended", "--wait", 0)
    assert done.code in {0, 3}
    return str(plan["letters"][0]["class_"])


def test_a_job_begins_once(chat: Chat) -> None:
    """However often `message/job.submitted` is published."""
    received = chat.post(Body="https://example.org")
    again = JobSubmitted(job_id=received.job_id, provider_message_id="SM1")
    chat.say(again, again)
    deliver(chat.connection, queues=["events"])
    job = chat.job(received)
    assert (job.status, job.content_type) == ("processing", "link")
    assert_published(chat.connection, ProcessingRequested, count=1, job_id=job.id, attempt=0, content_type="link")


def test_a_job_ends_once(chat: Chat) -> None:
    """By the first result of the current attempt. Later ones and those of another attempt change nothing."""
    received = chat.post()
    deliver(chat.connection, queues=["events"])
    said = ProcessingCompleted(job_id=received.job_id, attempt=0, status="complete", content={"number": 1})
    chat.say(
        said.model_copy(update={"attempt": 1, "content": {"number": 0}}),
        said,
        said.model_copy(update={"content": {"number": 2}}),
        ProcessingCompleted(job_id=received.job_id, attempt=0, status="failed", error_message="late"),
    )
    deliver(chat.connection, queues=["events"])
    assert (chat.job(received).status, chat.job(received).content) == ("complete", {"number": 1})
    assert_published(chat.connection, JobCompleted, count=1)
    assert scalar(chat.connection, DEAD) == 0


@pytest.mark.parametrize("handler", [handlers.job_submitted, handlers.processing_completed])
def test_an_event_of_no_job_fails_alone(chat: Chat, handler: object) -> None:
    """The event is named."""
    lost = chat.event(JobSubmitted(job_id=uuid4(), provider_message_id="SM1"))
    with chat.connection.transaction(), pytest.raises(FailingEvents, match=f"no message job {lost.data.job_id}") as why:
        list(handler(chat.context, [lost]))  # type: ignore[operator]
    assert set(why.value.reasons) == {lost.id}


def test_the_replay_of_a_failed_job_reopens_it(chat: Chat, run: Run) -> None:
    """As its next attempt, which completes once more. Its person and its id stay."""
    with using(message_processors=FAILS, most_attempts=1):
        received = chat.post()
        drain_all(chat.connection)
    failed = chat.job(received)
    assert failed.status == "failed"
    assert replay(run) == "valid"
    drain_all(chat.connection)
    job = chat.job(received)
    assert (job.status, job.attempt, job.error_message, job.fields) == ("complete", 1, None, failed.fields)
    assert [one.data.attempt for one in assert_published(chat.connection, JobCompleted, count=2)] == [0, 1]
    assert scalar(chat.connection, DEAD) == 0


def test_a_job_that_fails_again_has_a_letter_again(chat: Chat, run: Run) -> None:
    """Another one: the first was replayed."""
    with using(message_processors=FAILS, most_attempts=1):
        received = chat.post()
        drain_all(chat.connection)
        replay(run)
        drain_all(chat.connection)
    assert (chat.job(received).status, chat.job(received).attempt) == ("failed", 1)
    assert scalar(chat.connection, DEAD) == 1
    assert scalar(chat.connection, "SELECT count(*) FROM engine.failed_jobs") == 2


def test_the_replay_of_a_buried_request_makes_its_job(chat: Chat, run: Run) -> None:
    """With its sender; the letter is resolved."""
    intake.bury(chat.context, form(Body="hola"), ProcessingFailed("the database was full"))
    assert replay(run) == "valid"
    drain_all(chat.connection)
    (job,) = chat.jobs()
    assert (job.status, job.user_id, (job.content or {})["text"]) == ("complete", "+573011234567", "hola")
    assert_published(chat.connection, JobSubmitted, count=1)
    assert scalar(chat.connection, DEAD) == 0


def test_the_replay_of_a_request_that_has_a_job_changes_nothing(chat: Chat, run: Run) -> None:
    """The provider has repeated it with success."""
    posted = form()
    intake.bury(chat.context, posted, ProcessingFailed("no"))
    received = chat.post(posted)
    drain_all(chat.connection)
    before = chat.job(received)
    assert replay(run) == "already_applied"
    drain_all(chat.connection)
    assert chat.job(received) == before
    assert_published(chat.connection, JobSubmitted, count=1)


def test_a_request_that_is_no_message_is_blocked(chat: Chat, run: Run) -> None:
    """A replay would fail again. If it is published all the same, it dies alone."""
    bad, good = chat.request(MessageSid=""), chat.request()
    intake.bury(chat.context, bad.data.pairs(), ProcessingFailed("no"))
    assert replay(run) == "blocked"
    chat.say(bad.data, good.data)
    drain_all(chat.connection)
    assert len(chat.jobs()) == 1
    assert scalar(chat.connection, DEAD) == 2
