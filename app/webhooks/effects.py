"""The effect of a delivery: send it to its endpoint until the endpoint accepts it.

At least once: the receiver deduplicates by `webhook-id`, the delivery's id, which is the same in every attempt. So a
call in doubt is neither asked about nor left to a person: the next delivery of its event sends the request again.

prepare   In the claiming transaction: leave out deliveries that were accepted or given up.
call      No transaction is open. Read the endpoint once more, decrypt its secrets, and send.
failed    In the commit that puts the event back or buries it: count the attempt, and disable an endpoint that is gone
          or has been failing for days.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection, HandlerContext
from app.engine.domain import Call, ConcurrencyLimit, Effect, Policy, Prepared
from app.errors import InvalidInput, Permanent, SetupError, Transient
from app.webhooks import keys, results, rules, sender, store
from app.webhooks.keys import SealedSecret
from app.webhooks.sender import EndpointUnusable, Message, Target
from events import Event
from events.webhook import DeliveryCompleted, DeliveryRequested

QUEUE = "webhooks"
POLICY = Policy(most_attempts=20, base=5.0, cap=12 * 3600.0)
"""Retries after 5 s, 10 s, 20 s, ... 12 h, each with jitter, over 41 to 83 hours: Standard Webhooks recommends days."""

_LIMITS = "SELECT id, max_calls FROM webhooks.endpoints WHERE id = ANY(%s)"
_RECHECK = """
SELECT asked.event_id, d.status = 'pending' AS is_awaited, e.url, e.is_enabled, e.tenant_id,
       ARRAY(SELECT s.id FROM webhooks.secrets s
              WHERE s.endpoint_id = e.id AND coalesce(s.expires_at > clock_timestamp(), true)
              ORDER BY s.expires_at DESC NULLS FIRST, s.id) AS secret_ids,
       ARRAY(SELECT s.sealed FROM webhooks.secrets s
              WHERE s.endpoint_id = e.id AND coalesce(s.expires_at > clock_timestamp(), true)
              ORDER BY s.expires_at DESC NULLS FIRST, s.id) AS sealed
  FROM unnest(%s::uuid[], %s::uuid[]) AS asked (event_id, delivery_id)
  JOIN webhooks.deliveries d ON d.id = asked.delivery_id
  JOIN webhooks.endpoints e ON e.id = d.endpoint_id
"""


@dataclass(frozen=True, slots=True)
class Now:
    """The state right before a request. `secrets`: those that sign it, the current one first."""

    event_id: UUID
    is_awaited: bool
    url: str
    is_enabled: bool
    tenant_id: UUID
    secret_ids: Sequence[UUID]
    sealed: Sequence[str]

    @property
    def secrets(self) -> list[SealedSecret]:
        """The secrets that sign the request, the current one first."""
        return [SealedSecret(id_, self.tenant_id, text) for id_, text in zip(self.secret_ids, self.sealed, strict=True)]


def limits(connection: Connection, requested: Sequence[Event[DeliveryRequested]]) -> dict[UUID, ConcurrencyLimit]:
    """Return the concurrency limit of each request, by event id: `max_calls` of its endpoint, over all workers."""
    most = dict(connection.execute(_LIMITS, [[event.data.endpoint_id for event in requested]]).fetchall())
    return {
        event.id: ConcurrencyLimit(rules.limit_key(event.data.endpoint_id), most[event.data.endpoint_id])
        for event in requested
        if event.data.endpoint_id in most
    }


def prepare(context: HandlerContext, requested: Sequence[Event[DeliveryRequested]]) -> Iterator[Prepared]:
    """Select the deliveries that are still to be sent.

    Raises `FailingEvents` for a delivery that does not exist, or is another tenant's or endpoint's.
    """
    found = store.lock(context.connection, {event.data.delivery_id for event in requested})
    results.check(found, requested)
    open_ = [event for event in requested if found[event.data.delivery_id].is_open]
    store.reopen(context.connection, {event.data.delivery_id for event in open_})
    for event in open_:
        yield Prepared(event, Message(event.data.delivery_id, found[event.data.delivery_id].body))


def recheck(connection: Connection, prepared: Sequence[Prepared]) -> dict[UUID, Now]:
    """Return the current state of deliveries that are about to be sent, by the event's id."""
    columns = [[one.event.id for one in prepared], [one.event.data.delivery_id for one in prepared]]
    return {now.event_id: now for now in connection.cursor(row_factory=class_row(Now)).execute(_RECHECK, columns)}


async def deliver(prepared: Prepared, call: Call) -> DeliveryCompleted:
    """Send a delivery. Returns the result's payload. Raises an `EndpointError`."""
    now: Now | None = await call.still_mine()
    if now is None or not now.is_awaited:
        raise EndpointUnusable("the delivery is not waiting any more")
    if not now.is_enabled:
        raise EndpointUnusable("the endpoint is disabled; `webhooks enable` it, then replay this letter")
    accepted = await sender.send(target(now.url, now.secrets), prepared.work)
    wanted: DeliveryRequested = prepared.event.data
    return DeliveryCompleted(
        delivery_id=wanted.delivery_id,
        endpoint_id=wanted.endpoint_id,
        status=accepted.status,
        answer=accepted.answer,
    )


def target(url: str, secrets: Sequence[SealedSecret]) -> Target:
    """Return an endpoint's URL with its decrypted keys.

    Raises `EndpointUnusable` if a secret cannot be decrypted, and `Transient` while a sealing key is missing.
    """
    try:
        return Target(url, [keys.unseal(one) for one in secrets])
    except SetupError as error:
        raise Transient(str(error), maybe_called=False) from error
    except (Permanent, InvalidInput) as error:
        raise EndpointUnusable(str(error)) from error


async def ask(requested: Sequence[Event[DeliveryRequested]]) -> dict[UUID, str]:
    """Return what a replay does with requests that may have been sent, for plans. Nobody is asked."""
    return {
        event.id: "it may have been sent: the replay sends it again, with the same webhook-id" for event in requested
    }


EFFECT = Effect(
    queue=QUEUE,
    limits=limits,
    prepare=prepare,
    recheck=recheck,
    call=deliver,
    failed=results.failed,
    close=sender.close,
    ask=ask,
    account="endpoint_id",
    policy=POLICY,
    open_=results.open_deliveries,
    discard=results.discard,
    result=DeliveryCompleted,
)
