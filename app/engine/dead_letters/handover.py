"""Handover: an edited copy of a dead event takes over the outside call that its event asked for.

The copy has an id of its own. A call that may have been made stays in doubt, so the copy asks first; and other
deliveries of the dead event, which may still wait in the queue, make no call beside it.
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
    """Let `copy` take over the call of the dead event `raw`, in the transaction that publishes it.

    The dead event is entered into the ledger; returns its id if it was entered. The caller locks the letter
    after that. Nothing happens for a handler's event. Raises `Conflict` while another delivery makes
    the call.
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
