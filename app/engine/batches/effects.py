"""The effect of a batch: make the outside call of each requested item at most once, also after repeated requests.

Each attempt at an item has a reference, which the call passes to the other side. If an earlier call may have been made
(the call is in doubt, the item was begun before, or the item is retried), the effect first asks the other side for the
references. If the other side has one of them, its answer is the result, and no call is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection, HandlerContext
from app.engine.batches import ends, retry, rules, store
from app.engine.batches.rows import ItemState, ItemT, JobT
from app.engine.batches.statements import statement
from app.engine.batches.tables import Batch
from app.engine.domain import Call, ConcurrencyLimit, Effect, Policy, Prepared
from app.engine.effects.calls import in_hand
from app.errors import Busy, FailingEvents, TallymanError
from events import Event, Payload

_RECHECK = """
SELECT asked.event_id, i.{status} IN ({pending}, {processing}) AND i.retry_count = asked.attempt AS is_awaited,
       j.cancelled_by, j.cancel_reason
  FROM unnest(%s::uuid[], %s::uuid[], %s::integer[]) AS asked (event_id, item_id, attempt)
  JOIN {items} i ON i.id = asked.item_id
  JOIN {jobs} j ON j.id = i.{job_id}
"""


@dataclass(frozen=True, slots=True)
class Work(Generic[ItemT]):
    """An item whose call is to be made.

    `references`: the references of all its attempts, the current one last. `may_be_there`: an earlier call may have
    been made under one of the references.
    """

    batch: Batch[Any, ItemT] = field(repr=False)
    item: ItemT
    tenant_id: UUID
    requested: Any
    references: Sequence[str]
    may_be_there: bool

    @property
    def reference(self) -> str:
        """The reference of this attempt."""
        return self.references[-1]

    def succeeded(self, **result: object) -> Payload:
        """Return the payload of a successful result. `result`: values of the batch's result fields."""
        return self._result(status=self.batch.success, **result)

    def failed(self, error_message: str, error_type: str = "unknown", **result: object) -> Payload:
        """Return the payload of a failed result. `error_type`: `validation` if no call was made."""
        return self._result(status=self.batch.error, error_type=error_type, error_message=error_message, **result)

    def _result(self, **result: object) -> Payload:
        named = {
            self.batch.job_id: self.batch.job_of(self.requested),
            self.batch.item_id: self.item.id,
            "attempt": self.batch.attempt_of(self.requested),
        }
        return self.batch.completed(**named, **result)


@dataclass(frozen=True, slots=True)
class Now:
    """The state of an item right before its call. `is_awaited`: it has no result and waits for this attempt."""

    event_id: UUID
    is_awaited: bool
    cancelled_by: str | None
    cancel_reason: str | None

    @property
    def obstacle(self) -> str | None:
        """Why the call must not be made any more; None if it may be made."""
        if not self.is_awaited:
            return "the item is not waiting for this attempt any more"
        return rules.cancelled_by(self.cancelled_by, self.cancel_reason or "") if self.cancelled_by else None


def effect(  # noqa: PLR0913 - an effect's own options
    batch: Batch[JobT, ItemT],
    *,
    queue: str,
    call: Callable[[Work[ItemT]], Awaitable[Payload]],
    find: Callable[[Work[ItemT]], Awaitable[Payload | None]] | None = None,
    limits: Callable[[Connection, Sequence[Event[Any]]], Mapping[UUID, ConcurrencyLimit]] | None = None,
    close: Callable[[], Awaitable[None]] | None = None,
    batch_size: int = 25,
    at_once: int = 8,
    policy: Policy | None = None,
) -> Effect:
    """Return the effect that makes the calls of a batch's requests.

    `call`: make an item's call under `work.reference`; returns `work.succeeded(…)` or `work.failed(…)`, and raises
    `Transient` to be called again later. `find`: ask the other side for `work.references`; returns the result of the
    reference that it knows, or None. Without `find`, an operator must decide about a call in doubt, and the retry of an
    item that failed without a definite answer may make the call twice. The other options are those of `Effect`.
    """
    made = Effect(
        queue=queue,
        prepare=partial(_prepare, batch),
        call=partial(_carry, call, find),
        limits=limits,
        recheck=partial(_recheck, batch),
        give_up=_give_up,
        ask=partial(_ask, batch, find) if find else None,
        can_be_asked=find is not None,
        close=close,
        batch_size=batch_size,
        at_once=at_once,
        policy=policy,
    )
    return serve(batch, made)


def serve(batch: Batch[Any, Any], effect: Effect) -> Effect:
    """Return `effect` with the functions that the batch provides: call keys, revive, discard, open items."""
    return replace(
        effect,
        call_key=lambda event: call_key(batch, event),
        revive=lambda context, requested: retry.revive(context, batch, requested),
        open_=lambda connection, requested: ends.open_items(connection, batch, requested),
        discard=lambda context, requested, why: ends.discard(context, batch, requested, why),
        grace_period=batch.grace_period,
        result=batch.completed,
    )


def call_key(batch: Batch[Any, Any], event: Event[Any]) -> UUID:
    """Return the key of a request's call: equal for all requests of the same attempt at an item."""
    return rules.request_id(batch.requested, batch.item_of(event.data), batch.attempt_of(event.data))


def lock_requested(
    connection: Connection, batch: Batch[Any, Any], requested: Sequence[Event[Any]]
) -> tuple[dict[UUID, ItemState], list[Event[Any]]]:
    """Lock the items of requests. Returns the items by id, and the requests that the items still wait for.

    Raises `FailingEvents` for requests whose job, tenant or `about` values differ from the item's.
    """
    items = store.lock_items(connection, batch, [batch.item_of(event.data) for event in requested])
    mismatched = {
        event.id: f"item {batch.item_of(event.data)} is not of job {batch.job_of(event.data)} of this {batch.owner}"
        for event in requested
        if (item := items.get(batch.item_of(event.data))) is None or not retry.matches(batch, item, event)
    }
    if mismatched:
        raise FailingEvents(mismatched)
    # `processing` counts too: an earlier delivery of the event began the item. Deliveries of an event never overlap.
    return items, [event for event in requested if _is_awaited(batch, items[batch.item_of(event.data)], event)]


def _is_awaited(batch: Batch[Any, Any], item: ItemState, event: Event[Any]) -> bool:
    return item.is_open and item.retry_count == batch.attempt_of(event.data)


def _prepare(batch: Batch[JobT, ItemT], context: HandlerContext, requested: Sequence[Event[Any]]) -> Iterator[Prepared]:
    connection = context.connection
    states, waiting = lock_requested(connection, batch, requested)
    ids = [batch.item_of(event.data) for event in waiting]
    _refuse_in_grace_period(connection, batch, [states[item_id] for item_id in ids])
    rows = store.items_by_id(connection, batch, ids)
    store.begin_items(connection, batch, ids)
    for event, item_id in zip(waiting, ids, strict=True):
        yield Prepared(event, _work(batch, event, states[item_id], rows[item_id]))


def _work(batch: Batch[JobT, ItemT], event: Event[Any], state: ItemState, row: ItemT) -> Work[ItemT]:
    may_be_there = state.status == "processing" or state.retry_count > 0
    references = rules.references(state.id, state.retry_count)
    return Work(batch, row, state.tenant_id, event.data, references, may_be_there)


def _refuse_in_grace_period(connection: Connection, batch: Batch[Any, Any], items: Sequence[ItemState]) -> None:
    # Calls of earlier attempts, which were ended by hand and requested again.
    keys = [rules.request_id(batch.requested, item.id, n) for item in items for n in range(item.retry_count)]
    if keys and in_hand(connection, keys, batch.grace_period()):
        raise Busy("another attempt at the item is under way, or the other side may not be asked about it yet")


async def _carry(
    do: Callable[[Work[Any]], Awaitable[Payload]],
    find: Callable[[Work[Any]], Awaitable[Payload | None]] | None,
    prepared: Prepared,
    call: Call,
) -> Payload:
    work: Work[Any] = prepared.work
    may_be_there = bool(work.may_be_there or call.in_doubt or call.attempt)
    if find and may_be_there and (found := await find(work)) is not None:
        # Return it also if the job was cancelled meanwhile: the call was made.
        return found
    now: Now | None = await call.still_mine()
    if why := now.obstacle if now else "the item is gone":
        return work.failed(why, "unknown" if may_be_there and not find else rules.NEVER_CALLED)
    return await do(work)


def _give_up(prepared: Prepared, error: Exception) -> Payload:
    work: Work[Any] = prepared.work
    return work.failed(str(error) or type(error).__name__)


def _recheck(batch: Batch[Any, Any], connection: Connection, prepared: Sequence[Prepared]) -> dict[UUID, Now]:
    asked = [(one.event.id, batch.item_of(one.event.data), batch.attempt_of(one.event.data)) for one in prepared]
    columns = [list(column) for column in zip(*asked, strict=True)] or [[], [], []]
    found = connection.cursor(row_factory=class_row(Now)).execute(statement(batch, _RECHECK), columns)
    return {now.event_id: now for now in found}


async def _ask(
    batch: Batch[JobT, ItemT],
    find: Callable[[Work[ItemT]], Awaitable[Payload | None]],
    requested: Sequence[Event[Any]],
) -> dict[UUID, str]:
    """Ask the other side about requests whose calls may have been made. Returns answers as text, by event id."""
    from app import database  # noqa: PLC0415 - only an admin's command needs it

    ids = [batch.item_of(event.data) for event in requested]
    with database.connect() as connection:
        states = store.item_states(connection, batch, ids)
        rows = store.items_by_id(connection, batch, ids)
    said: dict[UUID, str] = {}
    for event in requested:
        item_id = batch.item_of(event.data)
        if item_id not in states:
            said[event.id] = "the other side was not asked: the item is gone"
            continue
        try:
            found = await find(_work(batch, event, states[item_id], rows[item_id]))
        except TallymanError as error:
            said[event.id] = f"the other side could not be asked: {error}"
        else:
            said[event.id] = (
                "the other side has done it: the replay records that and makes no call"
                if found
                else "the other side does not know it: the replay makes the call"
            )
    return said
