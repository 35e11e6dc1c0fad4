"""Send a test event to an endpoint now, outside the queue, so that an admin sees the answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

from app.context import Context
from app.webhooks import effects, endpoints, keys, rules, sender
from app.webhooks.sender import EndpointError, Message, Target
from events import new_id

EVENT_TYPE = "webhook.test"


@dataclass(frozen=True, slots=True)
class Trial:
    """The answer to a test event. `error`: why it counts as failed; None: the endpoint accepted it."""

    endpoint_id: UUID
    webhook_id: UUID
    accepted: bool
    status: int | None
    answer: str
    error: str | None
    milliseconds: int


def target_of(context: Context, endpoint_id: UUID) -> Target:
    """Return an endpoint of the tenant with its decrypted keys, also if it is disabled. As `service_role`.

    Raises `NotFound`, and an `EndpointError` or `Transient` if its secret cannot be decrypted.
    """
    found = endpoints.show_endpoint(context, endpoint_id)
    return effects.target(found.url, keys.active(context.connection, context.tenant_id, endpoint_id))


def send_test(context: Context, endpoint_id: UUID, target: Target) -> Trial:
    """Send a test event to an endpoint and return the answer. Call it outside any transaction.

    No delivery is stored, and a failure does not count against the endpoint.
    """
    message = Message(
        new_id(), rules.body(EVENT_TYPE, context.now, {"endpoint_id": str(endpoint_id), "message": "a test"})
    )
    began = time.monotonic()
    status: int | None
    why: str | None
    try:
        accepted = asyncio.run(_send(target, message))
    except EndpointError as error:
        status, answer, why = error.status, error.answer, str(error)
    else:
        status, answer, why = accepted.status, accepted.answer, None
    took = round((time.monotonic() - began) * 1000)
    return Trial(endpoint_id, message.id, why is None, status, answer, why, took)


async def _send(target: Target, message: Message) -> sender.Accepted:
    try:
        return await sender.send(target, message)
    finally:
        await sender.close()
