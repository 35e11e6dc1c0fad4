"""Transfer the outside call of a dead event to its edited copy.

The copy has a new id. A call that may have been made stays in doubt, so the copy's delivery asks the other side first.
The dead event is entered into the ledger, so deliveries of it that still wait in the queue make no second call.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine.delivery.ledger import enter
from app.engine.domain import wiring
from app.engine.effects.calls import end_calls, seize_calls
from app.engine.queue.envelope import QueuedEvent
from app.errors import Conflict
from events import Event, parse_all

_HAND_OVER = "UPDATE engine.calls SET event_id = %s, call_key = %s WHERE call_key = %s"


def hand_over(connection: Connection, raw: Any, copy: Event[Any]) -> UUID | None:
    """Transfer the call of the dead event `raw` to `copy`, in the transaction that publishes the copy.

    Enters the dead event into the ledger. Returns its id, or None if it was not entered: it was applied already, or it
    is a handler's event, which has no call. The caller locks the letter afterwards. Raises `Conflict` while another
    delivery makes the call.
    """
    (dead,) = parse_all([raw])
    effect = wiring().effects.get(type(copy.data))
    if effect is None or not isinstance(dead, Event) or type(dead.data) is not type(copy.data):
        return None
    key = effect.key(dead)
    seized = seize_calls(connection, {dead.id: key})
    if key not in seized:
        raise Conflict(f"dead letter: the call of event {dead.id} is being made at this moment; edit it again later")
    entered = enter(connection, [QueuedEvent(0, 0, raw, dead)])
    if seized[key]:
        connection.execute(_HAND_OVER, [copy.id, key if effect.call_key else copy.id, key])
    else:
        end_calls(connection, [key])
    return dead.id if entered else None
