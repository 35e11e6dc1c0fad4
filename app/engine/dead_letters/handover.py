"""Transfer the outside call of a dead event to its edited copy.

The copy has a new id. A call that may have been made stays in doubt, so the copy's delivery asks the other side first.
The dead event is entered into the ledger, so deliveries of it that still wait in the queue make no second call.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine.dead_letters.letters import DeadLetter
from app.engine.delivery.ledger import enter
from app.engine.domain import wiring
from app.engine.effects.calls import end_calls, rename_call, seize_calls
from app.engine.queue.envelope import QueuedEvent
from app.errors import Conflict
from events import Event, parse_all


def hand_over(connection: Connection, letter: DeadLetter, copy: Event[Any]) -> UUID | None:
    """Transfer the call of a dead event to `copy`, in the transaction that publishes the copy.

    Enters the dead event into the ledger. Returns its id, or None if it was not entered: it was applied already, its id
    belongs to another event, or it is a handler's event, which has no call. The caller locks the letter afterwards.
    Raises `Conflict` while another delivery makes the call.
    """
    (dead,) = parse_all([letter.event_data])
    effect = wiring().effects.get(type(copy.data))
    if effect is None or not isinstance(dead, Event) or type(dead.data) is not type(copy.data):
        return None
    event_id = letter.event_id or dead.id
    key = effect.key(dead) if effect.call_key else event_id
    seized = seize_calls(connection, {event_id: key})
    if key not in seized:
        raise Conflict(f"dead letter: the call of event {dead.id} is being made at this moment; edit it again later")
    entered = enter(connection, [QueuedEvent(0, 0, letter.event_data, dead)]) if event_id == dead.id else []
    if seized[key]:
        rename_call(connection, key, copy.id, key if effect.call_key else copy.id)
    else:
        end_calls(connection, [key])
    return dead.id if entered else None
