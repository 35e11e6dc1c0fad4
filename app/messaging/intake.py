"""Intake of messages: make a job of each message once, and dead-letter those that cannot be made one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID, uuid5

from pydantic_core import from_json

import events
from app.context import Connection, HandlerContext
from app.engine.delivery.bury import bury as bury_events
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.messaging import store
from app.messaging.twilio_form import Incoming, storable, value
from events import Event
from events.messaging import JobSubmitted, Webhook

_MESSAGES = UUID("5f0d3c7e-7c0e-5b0a-9a53-1d7a9a2f4c11")
"""The namespace of the ids of dead letters' events: the same message, the same letter."""


@dataclass(frozen=True, slots=True)
class Received:
    """The job of a message. `created`: False if an earlier request had made it."""

    job_id: UUID
    created: bool


def receive(context: HandlerContext, message: Incoming) -> Received:
    """Make a message a job, in the caller's transaction, and publish `message/job.submitted`.

    Creates the sender at the first contact, links the sender's names, and merges people who turn out to be one. The
    same message again makes no second job: a concurrent request waits for the first one's transaction.
    """
    received = keep(context.connection, message)
    if received.created:
        said = JobSubmitted(job_id=received.job_id, provider_message_id=message.message_id)
        publish(context.connection, events.new(said, now=context.now, subject=received.job_id, tenant=None))
    return received


def keep(connection: Connection, message: Incoming) -> Received:
    """Store a message and its sender without publishing anything. See `receive`."""
    job_id = events.new_id()
    while not store.insert_job(connection, job_id, message):
        # A new statement: it sees the job that the insert has met.
        if (found := store.job_id_of(connection, message.message_id)) is not None:
            return Received(found, created=False)
    return Received(job_id, created=True)


def bury(context: HandlerContext, fields: Iterable[tuple[str, str]], error: BaseException) -> None:
    """Dead-letter a verified request that could not be made a job, in a transaction of its own.

    Call it after the failed transaction was rolled back. `fields`: as they were posted. The letter has the type
    `message/webhook`. Its replay makes the job. A repeated request updates the letter.
    """
    kept = storable(fields)
    message_id = value(kept, "MessageSid", "SmsMessageSid", "SmsSid")
    payload = Webhook.of(kept)
    event_id = uuid5(_MESSAGES, message_id or payload.model_dump_json())
    event = events.new(payload, now=context.now, subject=None, tenant=None, event_id=event_id)
    with context.connection.transaction():
        dead_letter(context.connection, event, error)


def dead_letter(connection: Connection, event: Event[Webhook], error: BaseException) -> None:
    """Write the dead letter of a request that was never published as an event, in the caller's transaction."""
    bury_events(connection, [(QueuedEvent(0, 0, from_json(event.json_bytes()), event), error)])
