"""Forecast the outcome of replaying dead letters of messages, for replay plans. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.context import Connection
from app.engine.domain import Forecast
from app.errors import InvalidInput
from app.messaging import store
from app.messaging.handlers import waits
from app.messaging.twilio_form import incoming
from events import Event
from events.messaging import ProcessingRequested, Webhook


def requests(connection: Connection, dead: Sequence[Event[Webhook]]) -> dict[UUID, Forecast]:
    """Return the forecast of requests, by event id: a new job, a job that is reopened, or nothing."""
    return {event.id: _request(connection, event.data) for event in dead}


def processing(connection: Connection, dead: Sequence[Event[ProcessingRequested]]) -> dict[UUID, Forecast]:
    """Return the forecast of requests to run a processor, by event id."""
    jobs = store.find_jobs(connection, [event.data.job_id for event in dead])
    return {
        event.id: Forecast(jobs=frozenset({job.id}))
        if (job := jobs.get(event.data.job_id)) and waits(job, event.data)
        else Forecast(idle="the message does not wait for it")
        for event in dead
    }


def _request(connection: Connection, request: Webhook) -> Forecast:
    try:
        message = incoming(request.pairs())
    except InvalidInput as error:
        return Forecast(blocked=f"it is no message: {error}")
    job = store.find_job(connection, message.message_id)
    if job is None:
        return Forecast()
    if job.status != "failed":
        return Forecast(idle=f"message job {job.id} is {job.status}")
    return Forecast(jobs=frozenset({job.id}))
