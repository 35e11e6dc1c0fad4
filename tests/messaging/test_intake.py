"""Intake: one job a message, one person however the channels name the sender, and no message is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import permutations

import pytest

from app import database as doors
from app.context import Connection, HandlerContext
from app.engine.dead_letters import letters
from app.engine.dead_letters.letters import Filters
from app.errors import InvalidInput
from app.messaging import intake
from app.messaging.fixtures.chat import Chat, Form, form
from app.messaging.intake import Received
from app.messaging.twilio_form import incoming
from app.testing.published import assert_published
from events.messaging import JobSubmitted
from tests.helpers.support import scalar
from tests.helpers.waits import until_somebody_waits

PEOPLE = "SELECT array_agg(phone_number ORDER BY phone_number) FROM messaging.users"
ALIASES = "SELECT alias, phone_number FROM messaging.user_aliases ORDER BY alias"
SENDERS = "SELECT array_agg(DISTINCT user_id ORDER BY user_id) FROM messaging.jobs"
JOBS = "SELECT count(*) FROM messaging.jobs"

ANA = "+525512345678"
BY_ID = {"From": "whatsapp:MX.17", "WaId": "", "ExternalUserId": "MX.17"}
BY_NUMBER = {"From": f"whatsapp:{ANA}", "WaId": ANA[1:]}
BY_SPELLING = {"From": "whatsapp:+5215512345678", "WaId": "5215512345678"}
BY_BOTH = {**BY_SPELLING, "ExternalUserId": "MX.17"}


def test_a_message_becomes_a_job_of_its_sender(chat: Chat) -> None:
    """With the event that begins its processing."""
    posted = form(Body="hola")
    received = chat.post(posted)
    job = chat.job(received)
    assert received.created
    assert (job.user_id, job.source_type, job.source_channel_id) == ("+573011234567", "dm", "whatsapp:+573011234567")
    assert (job.status, job.user_phone, job.fields) == ("pending", "whatsapp:+573011234567", posted)
    said = assert_published(chat.connection, JobSubmitted, count=1, provider_message_id=job.provider_message_id)
    assert said[0].data.job_id == job.id
    assert scalar(chat.connection, "SELECT first_name FROM messaging.users") == "Ana"


def test_nothing_is_kept_if_the_caller_rolls_back(chat: Chat) -> None:
    """User, job and event are one transaction: the caller's."""
    with chat.connection.transaction(force_rollback=True):
        intake.receive(chat.context, incoming(form()))
    assert [scalar(chat.connection, one) for one in (PEOPLE, JOBS)] == [None, 0]
    assert scalar(chat.connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


def test_the_same_message_again_makes_no_second_job(chat: Chat) -> None:
    """Nor a second event. The job of the first one is returned."""
    posted = form()
    first = chat.post(posted)
    assert [chat.post(posted), chat.post(posted)] == [Received(first.job_id, created=False)] * 2
    assert_published(chat.connection, JobSubmitted, count=1)


def test_the_same_message_waits_for_the_first_one(chat: Chat, watcher: Connection) -> None:
    """Also while the first transaction is open: no error, no second job."""
    posted = form()
    with ThreadPoolExecutor(1) as threads, doors.connect() as first:
        made = intake.receive(HandlerContext.begin(first), incoming(posted))
        again = threads.submit(chat.post, posted)
        until_somebody_waits(watcher)
        first.commit()
        assert again.result() == Received(made.job_id, created=False)
    assert scalar(chat.connection, JOBS) == 1


def test_the_same_message_is_made_a_job_if_the_first_request_fails(chat: Chat, watcher: Connection) -> None:
    """The request that waited makes it."""
    posted = form()
    with ThreadPoolExecutor(1) as threads, doors.connect() as first:
        intake.receive(HandlerContext.begin(first), incoming(posted))
        again = threads.submit(chat.post, posted)
        until_somebody_waits(watcher)
        first.rollback()
        assert again.result().created
    assert_published(chat.connection, JobSubmitted, count=1)


@pytest.mark.parametrize("order", list(permutations([BY_ID, BY_NUMBER, BY_SPELLING, BY_BOTH])))
def test_one_person_is_one_row_in_any_order(chat: Chat, order: Sequence[dict[str, str]]) -> None:
    """An id and the spellings of a number: linked by the message that carries both. Every message keeps its job."""
    jobs = [chat.post(**names).job_id for names in order]
    assert scalar(chat.connection, PEOPLE) == [ANA]
    assert scalar(chat.connection, SENDERS) == [ANA]
    assert scalar(chat.connection, JOBS) == len(set(jobs)) == 4
    assert chat.connection.execute(ALIASES).fetchall() == [
        ("+5215512345678", ANA),
        (ANA, ANA),
        ("whatsapp:MX.17", ANA),
    ]


def test_two_people_stay_two(chat: Chat) -> None:
    """A landline is not the mobile that differs by a digit. An id is one person's."""
    for sender in ("whatsapp:+541143211234", "whatsapp:+5491143211234", "whatsapp:AR.1", "whatsapp:AR.2", "73529"):
        chat.post(From=sender, WaId="")
    assert scalar(chat.connection, PEOPLE) == [
        "+541143211234",
        "+5491143211234",
        "sms:73529",
        "whatsapp:AR.1",
        "whatsapp:AR.2",
    ]


def test_the_merged_person_keeps_the_first_name_and_the_first_contact(chat: Chat) -> None:
    """Of the earlier row if the later one has none. A name that is known is not replaced."""
    chat.post(**BY_ID, ProfileName="Ana")
    since = scalar(chat.connection, "SELECT created_at FROM messaging.users")
    chat.post(**BY_NUMBER, ProfileName="")
    chat.post(**BY_BOTH, ProfileName="Anita")
    assert chat.connection.execute("SELECT first_name, created_at FROM messaging.users").fetchall() == [("Ana", since)]


def test_a_name_is_learned_later(chat: Chat) -> None:
    """SMS has none."""
    chat.post(From=ANA, WaId="", ProfileName="")
    chat.post(**BY_NUMBER, ProfileName="Ana")
    assert scalar(chat.connection, "SELECT first_name FROM messaging.users") == "Ana"


def test_concurrent_first_contacts_make_one_person(connection: Connection) -> None:
    """By any of the names, in any order: every message gets its job, and all jobs are one person's."""
    posted = [form(**names) for names in (BY_ID, BY_NUMBER, BY_SPELLING, BY_BOTH) for _ in range(6)]
    random.Random(1).shuffle(posted)
    with ExitStack() as stack:
        open_ = [stack.enter_context(doors.connect(autocommit=True)) for _ in range(6)]
        threads = stack.enter_context(ThreadPoolExecutor(len(open_)))
        done = [threads.submit(post_all, one, posted[number :: len(open_)]) for number, one in enumerate(open_)]
        received = [one for some in done for one in some.result()]
    assert all(one.created for one in received)
    assert [scalar(connection, one) for one in (PEOPLE, SENDERS, JOBS)] == [[ANA], [ANA], len(posted)]


def test_a_message_finds_the_person_that_is_merged_meanwhile(chat: Chat, watcher: Connection) -> None:
    """Its transaction waits for the merge, and its job is the merged person's."""
    chat.post(**BY_ID)
    with ThreadPoolExecutor(1) as threads, doors.connect() as merging:
        intake.receive(HandlerContext.begin(merging), incoming(form(**BY_BOTH)))
        late = threads.submit(chat.post, **BY_ID)
        until_somebody_waits(watcher)
        merging.commit()
        received = late.result()
    assert chat.job(received).user_id == ANA
    assert scalar(chat.connection, PEOPLE) == [ANA]


def test_a_group_is_kept_by_its_id(chat: Chat) -> None:
    """The sender is the person who wrote, not the group."""
    first = chat.job(chat.post(From="whatsapp:120363@g.us", Author="whatsapp:+573011234567"))
    second = chat.job(chat.post(GroupId="120363", From="whatsapp:+573021234567", WaId="573021234567"))
    assert (first.source_type, first.source_channel_id, first.user_id) == (
        "group",
        "whatsapp:120363@g.us",
        "+573011234567",
    )
    assert (second.source_type, second.source_channel_id, second.user_id) == ("group", "120363", "+573021234567")


def test_a_request_that_is_no_message_is_buried_once(chat: Chat) -> None:
    """As `message/webhook`, with the fields as they were posted. A repeated request updates the letter."""
    posted = form(From="", WaId="", Body="a\x00b")
    for _ in range(2):
        with pytest.raises(InvalidInput, match="From: is missing or blank") as caught:
            chat.post(posted)
        intake.bury(chat.context, posted, caught.value)
    (letter,) = letters.select(chat.connection, Filters())
    assert (letter.job_type, letter.error_class) == ("message/webhook", "InvalidInput")
    kept = scalar(chat.connection, "SELECT event_data -> 'data' -> 'fields' FROM engine.failed_jobs")
    assert {"name": "Body", "value": "a�b"} in kept
    assert len(kept) == len(posted)


def post_all(connection: Connection, some: Sequence[Form]) -> list[Received]:
    """Receive messages, each in a transaction of its own."""
    return [Chat(connection).post(one) for one in some]
