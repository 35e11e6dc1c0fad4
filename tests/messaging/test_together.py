"""Several messages in one transaction: the same jobs and people as one by one, or none."""

from __future__ import annotations

import psycopg
import pytest
from pydantic import SecretStr

from app import database
from app.context import Connection, HandlerContext
from app.messaging.intake import receive
from app.messaging.together import receive_together
from app.messaging.twilio_form import Incoming, incoming
from app.simulators import twilio
from app.simulators.twilio import Form, Line
from tests.helpers.support import scalar

LINE = Line("https://hooks.example.com/x", "AC" + "0" * 32, SecretStr("0" * 32))
_JOBS = "SELECT user_id, source_type, user_phone, payload FROM messaging.jobs ORDER BY user_phone, payload::text"


def read(fields: Form) -> Incoming:
    """Read the form fields of a message."""
    values = ((name, [value] if isinstance(value, str) else value) for name, value in fields.items())
    return incoming([(name, value) for name, several in values for value in several])


def together(connection: Connection, *messages: Incoming) -> int:
    """Receive messages in one transaction."""
    with database.as_service(connection):
        return receive_together(HandlerContext.begin(connection), messages)


def test_the_jobs_and_people_are_those_of_single_messages(connection: Connection) -> None:
    """Direct and group messages of new and known people, with a message twice: as `receive` makes them."""
    mexican = "+5215512345678"
    messages = [
        read(twilio.sms(LINE, "+525512345678", "uno")),
        read(twilio.whatsapp(LINE, mexican, "dos")),
        read(twilio.whatsapp(LINE, "CO.123456789", "tres")),
        read(twilio.in_conversation(LINE, "+573001112233", "cuatro", others=["+573001112244"])),
    ]
    assert together(connection, *messages, messages[0]) == 4
    assert together(connection, *messages) == 0
    made = connection.execute(_JOBS).fetchall()
    queued = "SELECT count(*) FROM engine.queue_rows, LATERAL jsonb_array_elements(events)"
    assert scalar(connection, queued) == 4
    assert scalar(connection, "SELECT count(*) FROM messaging.users") == 3
    connection.execute("DELETE FROM messaging.jobs")
    for message in messages:
        with database.as_service(connection):
            receive(HandlerContext.begin(connection), message)
    assert connection.execute(_JOBS).fetchall() == made


def test_a_message_that_changes_the_sender_of_another(connection: Connection) -> None:
    """The second message gives the first one's sender a number: both are jobs of one person."""
    first = read(twilio.whatsapp(LINE, "CO.123456789", "uno"))
    second = read(twilio.whatsapp(LINE, "+573001112233", "dos", ExternalUserId="CO.123456789"))
    assert together(connection, first, second) == 2
    assert connection.execute("SELECT user_id FROM messaging.jobs").fetchall() == [("+573001112233",)] * 2
    assert scalar(connection, "SELECT array_agg(phone_number) FROM messaging.users") == ["+573001112233"]


def test_a_locked_sender_does_not_hold_the_others_for_long(connection: Connection) -> None:
    """A tenth of a second. Then none is stored, and each is received by itself."""
    message = read(twilio.sms(LINE, "+573001112233", "uno"))
    assert together(connection, message) == 1
    with database.connect() as holder:
        holder.execute("SELECT FROM messaging.users FOR UPDATE")
        again = read(twilio.sms(LINE, "+573001112233", "dos"))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            together(connection, again)
    assert together(connection, again) == 1
