"""Receive several messages in one transaction, for a web server that takes many at once."""

from __future__ import annotations

from collections.abc import Sequence

import events
from app.context import HandlerContext
from app.engine.queue.publish import publish
from app.messaging import store
from app.messaging.twilio_form import Incoming
from events.messaging import JobSubmitted

_LOCK_PATIENCE = "SET LOCAL lock_timeout = '100ms'"


def receive_together(context: HandlerContext, messages: Sequence[Incoming]) -> int:
    """Make jobs of messages, as `intake.receive` does, in the caller's transaction. Returns how many jobs are new.

    One statement stores all of them, and one publishes their events. Raises `LockNotAvailable` after a tenth of a
    second if another transaction holds a sender or a message, and any error of any message: then none is stored, and
    the caller receives them one by one.
    """
    context.connection.execute(_LOCK_PATIENCE)
    made = store.insert_jobs(context.connection, {events.new_id(): message for message in messages})
    publish(
        context.connection,
        *(
            events.new(
                JobSubmitted(job_id=job_id, provider_message_id=message_id),
                now=context.now,
                subject=job_id,
                tenant=None,
            )
            for job_id, message_id in made
        ),
    )
    return len(made)
