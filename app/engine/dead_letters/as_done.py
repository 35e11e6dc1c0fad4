"""Resolve as done: record the result of a dead effect's call by hand, and continue as if the effect had returned it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from app.context import Connection, HandlerContext
from app.engine import audit_log
from app.engine.dead_letters import letter_locks, letters
from app.engine.dead_letters.letters import DeadLetter
from app.engine.delivery.ledger import enter
from app.engine.domain import wiring
from app.engine.effects.calls import end_calls
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.errors import Conflict, InvalidInput
from events import Event, Payload, parse_all

_NOTE = "UPDATE engine.failed_jobs SET notes = concat_ws(E'\\n', notes, %s::text) WHERE id = %s"


def resolve_as_done(
    connection: Connection, wanted: UUID, data: Mapping[str, Any], *, note: str, actor: str
) -> Event[Any]:
    """Record the result of a dead effect's call and resolve its letter. Returns the result's event.

    One transaction publishes the effect's result event, enters the dead event into the ledger, ends its call, and adds
    the action to the audit log. Fields that the request and the result share, such as ids, are copied from the request
    unless `data` contains them. Raises `NotFound`. Raises `Conflict` for a letter that is resolved or was changed, and
    while another delivery makes the call. Raises `InvalidInput` if the event has no effect, or if the effect names no
    result type, or if `data` does not match that type.
    """
    with connection.transaction():
        letter = letters.find(connection, wanted)
        dead, result = _result(letter, data)
        if letter.event_id != dead.id:
            raise Conflict(f"dead letter: its id {dead.id} belongs to another event; `dead edit` gives it a new one")
        seized = letter_locks.seize(connection, [dead])
        if not seized:
            raise Conflict(f"dead letter: the call of event {dead.id} is being made at this moment; its outcome counts")
        # Read again: the session that held the call may have resolved the letter.
        letter = letters.find(connection, letter.id)
        if letter.resolved_at is not None:
            raise Conflict(f"dead letter: {letter.id} is resolved already")
        if not enter(connection, [QueuedEvent(0, 0, letter.event_data, dead)]):
            raise Conflict(f"dead letter: event {dead.id} was applied meanwhile")
        if not letter_locks.lock(connection, [letter], [dead.id]):
            raise Conflict(f"dead letter: {letter.id} was changed by another session meanwhile; read it again")
        event = dead.follow(result, HandlerContext.begin(connection).now)
        publish(connection, event)
        end_calls(connection, list(seized))
        connection.execute(_NOTE, [note, letter.id])
        details = {"event_id": str(event.id), "result": result.model_dump(mode="json")}
        audit_log.record(connection, actor, "resolve as done", subject=letter.id, reason=note, details=details)
    return event


def _result(letter: DeadLetter, data: Mapping[str, Any]) -> tuple[Event[Any], Payload]:
    (dead,) = parse_all([letter.event_data])
    effect = wiring().effects.get(type(dead.data)) if isinstance(dead, Event) else None
    if not isinstance(dead, Event) or effect is None:
        raise InvalidInput(f"dead letter: {letter.job_type} is no effect: `dead resolve` without --as-done closes it")
    if effect.result is None:
        raise InvalidInput(f"dead letter: the effect of {letter.job_type} does not name its result (Effect.result)")
    known = {name: value for name, value in dead.data if name in effect.result.model_fields}
    try:
        return dead, effect.result.model_validate({**known, **data})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'data'}: {one['msg']}" for one in error.errors())
        raise InvalidInput(f"data: no {effect.result.type}: {wrong}") from None
