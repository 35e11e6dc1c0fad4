"""Messages for operators: the commands `messages list` and `messages show`, `explain`, and `doctor`."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.engine.inspect.reasons import Dead
from app.engine.inspect.waiting import NobodyServes
from app.errors import NotFound
from app.messaging.explain import explain_job
from app.messaging.fixtures.chat import Chat
from app.messaging.reasons import MessageEnded, NoProcessor
from app.settings import using
from tests.commands.conftest import Run, run
from tests.helpers import processors
from tests.helpers.health_fixtures import of
from tests.helpers.support import deliver, drain_all

__all__ = ["run"]

BROKEN = "text=tests.nowhere:describe"


def test_messages_are_listed_newest_first(chat: Chat, run: Run) -> None:
    """By status, type and sender: a number in any spelling, or an id."""
    first = chat.post(ExternalUserId="CO.17")
    second = chat.post(From="whatsapp:+573021234567", WaId="573021234567", Body="https://example.org")
    drain_all(chat.connection)
    third = chat.post()
    ids = {str(one.job_id): number for number, one in enumerate((first, second, third), 1)}

    def listed(*filters: object) -> list[int]:
        return [ids[row["id"]] for row in run("messages", "list", "--json", *filters).rows]

    assert listed() == [3, 2, 1]
    assert listed("--status", "pending") == [3]
    assert listed("--type", "link") == [2]
    assert listed("--from", "301 123 4567") == listed("--from", "whatsapp:CO.17") == [3, 1]
    assert listed("--limit", 1, "--before", third.job_id) == [2]
    assert f"--before {third.job_id}" in run("messages", "list", "--limit", 1).err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("list", "--status", "done"), "'done' is not a status"),
        (("list", "--type", "song"), "'song' is not a content type"),
        (("list", "--limit", 0), "limit: must be 1 to 1000"),
        (("show", "SM1"), "there is no message SM1"),
    ],
)
def test_a_wrong_request_is_refused(run: Run, arguments: tuple[object, ...], problem: str) -> None:
    """With the field and the remedy, and exit code 2."""
    done = run("messages", *arguments)
    assert (done.code, problem in done.err) == (2, True)


def test_a_message_is_shown_with_its_sender(chat: Chat, run: Run) -> None:
    """By its own id or the provider's."""
    received = chat.post(ExternalUserId="CO.17", MessageSid="SM17")
    (shown,) = run("messages", "show", "SM17", "--json").rows
    assert run("messages", "show", received.job_id, "--json").rows == [shown]
    assert (shown["user_id"], shown["first_name"], shown["aliases"]) == (
        "+573011234567",
        "Ana",
        ["+573011234567", "whatsapp:CO.17"],
    )
    assert ["Body", "hello"] in shown["payload"]


def test_explain_says_why_a_message_waits_or_how_it_ended(chat: Chat) -> None:
    """With the processor that cannot be imported, and the dead letter that reopens the job."""
    received = chat.post()
    assert NobodyServes in kinds(chat, received.job_id)
    with using(message_processors=BROKEN):
        deliver(chat.connection, queues=["events"])
        assert kinds(chat, received.job_id)[0] is NoProcessor
    drain_all(chat.connection)
    assert kinds(chat, received.job_id) == [MessageEnded]
    with using(message_processors=f"text={processors.HERE}:crash", most_attempts=1):
        failed = chat.post()
        drain_all(chat.connection)
    ended, dead = explain_job(chat.connection, failed.job_id)
    assert isinstance(dead, Dead)
    assert "(text) is failed since" in ended.sentence
    assert "KeyError: 'a\\x00b'; a replay of its dead letter reopens it" in ended.sentence
    with pytest.raises(NotFound, match="`messages list`"):
        explain_job(chat.connection, uuid4())


def kinds(chat: Chat, job_id: object) -> list[type]:
    """Return the types of the reasons."""
    return [type(one) for one in explain_job(chat.connection, job_id)]  # type: ignore[arg-type]


def test_the_doctor_names_a_processor_that_cannot_be_imported(chat: Chat) -> None:
    """With the number of messages that wait for it."""
    assert of("processors") == [("ok", "every content type of messages has a processor that can be imported")]
    chat.post()
    deliver(chat.connection, queues=["events"])
    with using(message_processors=BROKEN):
        ((level, what),) = of("processors")
    assert (level, what.startswith("1 messages of type text wait: TALLYMAN_MESSAGE_PROCESSORS")) == ("problem", True)
