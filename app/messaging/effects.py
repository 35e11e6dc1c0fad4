"""The effect of messages: run the processor of a message, and end the job if it fails for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from app.context import Connection, HandlerContext
from app.engine.domain import Call, Effect, Prepared
from app.errors import Busy, SetupError
from app.messaging import content, store
from app.messaging.handlers import waits
from app.messaging.processors import Message, processor
from events import Event
from events.messaging import JobCompleted, ProcessingCompleted, ProcessingRequested

MESSAGES_QUEUE = "messages"
_LONGEST_ERROR = 4000
_RETRY_SETUP_S = 30.0
"""Seconds until a message whose processor cannot be imported is tried again."""


def prepare(context: HandlerContext, requested: Sequence[Event[ProcessingRequested]]) -> Iterator[Prepared]:
    """Read the messages that wait for this attempt. The others are left out."""
    jobs = store.lock_jobs(context.connection, [event.data.job_id for event in requested])
    for event in requested:
        job = jobs.get(event.data.job_id)
        if job is not None and waits(job, event.data):
            read = content.read(job.fields)
            yield Prepared(event, Message(job.id, job.attempt, job.user_id, job.source_channel_id, read))


async def process(prepared: Prepared, call: Call) -> ProcessingCompleted:
    """Run the processor of a message. Returns the result's payload.

    Raises the processor's errors, and `Busy` while it cannot be imported: the message waits until that is corrected.
    """
    requested: ProcessingRequested = prepared.event.data
    try:
        run = processor(requested.content_type)
    except SetupError as error:
        raise Busy(str(error), delay=_RETRY_SETUP_S) from error
    found = await run(prepared.work, call)
    return ProcessingCompleted(
        job_id=requested.job_id, attempt=requested.attempt, status="complete", content=dict(found)
    )


def give_up(prepared: Prepared, error: Exception) -> ProcessingCompleted:
    """Return the result's payload of a message whose last delivery failed."""
    return _failed(prepared.event.data, f"{type(error).__name__}: {error}")


def open_(connection: Connection, requested: Sequence[Event[ProcessingRequested]]) -> dict[UUID, UUID]:
    """Return the jobs that wait for the result of dead requests, by the event's id."""
    jobs = store.find_jobs(connection, [event.data.job_id for event in requested])
    return {event.id: job.id for event in requested if (job := jobs.get(event.data.job_id)) and waits(job, event.data)}


def discard(
    context: HandlerContext, requested: Sequence[Event[ProcessingRequested]], why: str
) -> Iterator[Event[JobCompleted]]:
    """Fail the jobs that wait for the result of discarded requests."""
    store.lock_jobs(context.connection, [event.data.job_id for event in requested])
    still_open = open_(context.connection, requested)
    ended = {event.data.job_id: event for event in requested if event.id in still_open}
    store.end(context.connection, [_failed(event.data, why) for event in ended.values()])
    for job_id, event in ended.items():
        yield event.follow(JobCompleted(job_id=job_id, status="failed", attempt=event.data.attempt), context.now)


def _failed(requested: ProcessingRequested, why: str) -> ProcessingCompleted:
    message = why.replace("\x00", "").encode(errors="replace").decode()[:_LONGEST_ERROR]
    return ProcessingCompleted(
        job_id=requested.job_id, attempt=requested.attempt, status="failed", error_message=message
    )


EFFECT = Effect(
    queue=MESSAGES_QUEUE,
    prepare=prepare,
    call=process,
    give_up=give_up,
    gives_up_on=(Exception,),
    open_=open_,
    discard=discard,
    result=ProcessingCompleted,
)
