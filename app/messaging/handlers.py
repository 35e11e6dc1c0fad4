"""Handlers of messages: begin the processing of new jobs, record its results, and make jobs of replayed requests.

Lock order: the sender's names, users, jobs by id, dead letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from app.context import Connection, HandlerContext
from app.errors import FailingEvents, InvalidInput, Permanent
from app.messaging import content, intake, store
from app.messaging.store import Job
from app.messaging.twilio_form import Incoming, incoming
from events import Event, Payload
from events.messaging import JobCompleted, JobSubmitted, ProcessingCompleted, ProcessingRequested, Webhook


class ProcessingFailed(Permanent):
    """The processor of a message failed for good. The message is its last error's."""


def job_submitted(
    context: HandlerContext, submitted: list[Event[JobSubmitted]]
) -> Iterator[Event[ProcessingRequested]]:
    """Read the content types of pending jobs, and request their processing."""
    jobs = _locked(context.connection, submitted)
    events = {event.data.job_id: event for event in reversed(submitted) if jobs[event.data.job_id].status == "pending"}
    types = {job_id: content.read(jobs[job_id].fields).type for job_id in events}
    store.start(context.connection, types)
    for job_id, event in events.items():
        wanted = ProcessingRequested(job_id=job_id, attempt=jobs[job_id].attempt, content_type=types[job_id])
        yield event.follow(wanted, context.now)


def processing_completed(
    context: HandlerContext, completed: list[Event[ProcessingCompleted]]
) -> Iterator[Event[JobCompleted]]:
    """Record results of the current attempt. A failed one leaves a dead letter `message/webhook` with the request."""
    jobs = _locked(context.connection, completed)
    wanted = {event.data.job_id: event for event in reversed(completed) if waits(jobs[event.data.job_id], event.data)}
    store.end(context.connection, [event.data for event in wanted.values()])
    for job_id, event in wanted.items():
        if event.data.error_message is not None:
            request = event.follow(Webhook.of(jobs[job_id].fields), context.now)
            intake.dead_letter(context.connection, request, ProcessingFailed(event.data.error_message))
        result = event.data
        yield event.follow(JobCompleted(job_id=job_id, status=result.status, attempt=result.attempt), context.now)


def webhook(context: HandlerContext, requests: list[Event[Webhook]]) -> Iterator[Event[JobSubmitted]]:
    """Make jobs of replayed requests. The failed job of a request is reopened; any other job stays as it is."""
    for event, message in _messages(requests):
        received = intake.keep(context.connection, message)
        if received.created or store.reopen(context.connection, received.job_id):
            said = JobSubmitted(job_id=received.job_id, provider_message_id=message.message_id)
            yield event.follow(said, context.now, subject=received.job_id)


def ignore(_context: HandlerContext, _events: list[Event[Any]]) -> tuple[()]:
    """Do nothing: the events are for other parts of the program."""
    return ()


def lock(connection: Connection, events: Sequence[Event[Any]]) -> None:
    """Lock the jobs of events of several types, in the order of their ids."""
    store.lock_jobs(connection, [job_id for event in events if (job_id := job_of(event)) is not None])


def job_of(event: Event[Any]) -> UUID | None:
    """Return the job of a message's event; None for any other event."""
    data: Payload = event.data
    match data:
        case JobSubmitted() | ProcessingRequested() | ProcessingCompleted():
            return data.job_id
        case _:
            return None


def waits(job: Job, about: ProcessingRequested | ProcessingCompleted) -> bool:
    """Whether a job waits for the result of this attempt."""
    return job.status == "processing" and job.attempt == about.attempt


def _locked(connection: Connection, events: Sequence[Event[JobSubmitted | ProcessingCompleted]]) -> dict[UUID, Job]:
    """Lock the jobs of events. Raises `FailingEvents` for events whose job does not exist."""
    jobs = store.lock_jobs(connection, [event.data.job_id for event in events])
    if lost := [event for event in events if event.data.job_id not in jobs]:
        raise FailingEvents({event.id: f"job_id: there is no message job {event.data.job_id}" for event in lost})
    return jobs


def _messages(requests: Sequence[Event[Webhook]]) -> list[tuple[Event[Webhook], Incoming]]:
    """Read the messages of requests. Raises `FailingEvents` for requests that are no message."""
    found: list[tuple[Event[Webhook], Incoming]] = []
    failing: dict[UUID, str] = {}
    for event in requests:
        try:
            found.append((event, incoming(event.data.pairs())))
        except InvalidInput as error:
            failing[event.id] = str(error)
    if failing:
        raise FailingEvents(failing)
    return found
