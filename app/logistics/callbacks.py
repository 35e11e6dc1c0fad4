"""Results that an external robot service reports by HTTP, published as `robot/item.completed`.

Each result gets a verdict. Every result that is an event is published, also one that is late or about an unknown item:
its handler decides under locks, ignores a late one, and an unknown one becomes a dead letter of the workspace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid5

from pydantic import ValidationError
from pydantic_core import to_json

import events
from app.context import Context
from app.engine.batches.rows import ItemState
from app.engine.batches.store import item_states
from app.engine.delivery import ledger
from app.engine.queue.publish import check, publish
from app.errors import InvalidInput
from app.logistics.store import ROBOT_JOBS
from events import Event, InvalidEvent
from events.robot import ItemCompleted

MOST_RESULTS = 500

Word = Literal["accepted", "late", "unknown", "invalid"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a result.

    `verdict`: `accepted`: it will be recorded, or was recorded by an earlier delivery; `late`: the item has a result or
    waits for another attempt; `unknown`: not an item of this job and workspace, the result is kept as a dead letter;
    `invalid`: not a result, nothing was published. `event_id`: the published event. `detail`: the reason.
    """

    verdict: Word
    event_id: UUID | None
    item_id: UUID | None
    detail: str | None = None


def take_results(context: Context, message_id: str, results: Sequence[object]) -> list[Verdict]:
    """Publish results of the workspace's items in the caller's transaction. Returns a verdict for each, in order.

    `message_id`: identifies the request. The ids of the events derive from it, so a repeated request has no effect.
    `results`: fields of `robot/item.completed`, as decoded JSON. Raises `InvalidInput` for none or more than
    `MOST_RESULTS`.
    """
    if not 1 <= len(results) <= MOST_RESULTS:
        raise InvalidInput(f"body: must have 1 to {MOST_RESULTS} results, not {len(results)}")
    read = [_read(context, uuid5(context.tenant_id, f"{message_id}/{n}"), one) for n, one in enumerate(results)]
    published = [one for one in read if isinstance(one, Event)]
    verdicts = _verdicts(context, published)
    publish(context.connection, *published)
    return [verdicts[one.id] if isinstance(one, Event) else one for one in read]


def _read(context: Context, event_id: UUID, result: object) -> Event[ItemCompleted] | Verdict:
    try:
        data = ItemCompleted.model_validate_json(to_json(result), strict=True)
        event = events.new(data, now=context.now, subject=data.job_id, tenant=context.tenant_id, event_id=event_id)
        check(event)
    except ValidationError as error:
        return Verdict("invalid", None, _item_id(result), events.explain(error))
    except InvalidEvent as error:
        return Verdict("invalid", None, _item_id(result), str(error))
    return event


def _item_id(result: object) -> UUID | None:
    value = result.get("item_id") if isinstance(result, Mapping) else None
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _verdicts(context: Context, published: Sequence[Event[ItemCompleted]]) -> dict[UUID, Verdict]:
    """Return the verdicts by event id, from the state of the items at this moment. Locks nothing."""
    items = item_states(context.connection, ROBOT_JOBS, [event.data.item_id for event in published])
    before = ledger.applied(context.connection, [event.id for event in published])
    reported: set[UUID] = set()
    verdicts: dict[UUID, Verdict] = {}
    for event in published:
        item = items.get(event.data.item_id)
        if event.id in before:
            verdict = _of(event, "accepted", "recorded by an earlier delivery")
        else:
            verdict = _verdict(event, item, is_first=event.data.item_id not in reported)
        if verdict.verdict == "accepted":
            reported.add(event.data.item_id)
        verdicts[event.id] = verdict
    return verdicts


def _verdict(event: Event[ItemCompleted], item: ItemState | None, *, is_first: bool) -> Verdict:
    data = event.data
    if item is None or item.job_id != data.job_id or item.tenant_id != event.tenantid:
        problem = f"item {data.item_id} is not of job {data.job_id} of this workspace: kept as a dead letter"
        return _of(event, "unknown", problem)
    if not item.is_open or not is_first:
        return _of(event, "late", "the item has a result")
    if item.retry_count != data.attempt:
        return _of(event, "late", f"the item waits for attempt {item.retry_count}, not {data.attempt}")
    return _of(event, "accepted")


def _of(event: Event[ItemCompleted], word: Word, detail: str | None = None) -> Verdict:
    return Verdict(word, event.id, event.data.item_id, detail)
