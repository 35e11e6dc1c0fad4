"""Reasons why events wait: their sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.engine.inspect.reasons import Reason
from app.engine.inspect.waiting import (
    BehindOthers,
    CoolingDown,
    LockHeld,
    NobodyServes,
    Parked,
    PutBack,
    QueuePaused,
    UnknownHere,
    Waiting,
    WaitingForShare,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHOWN, LATER_SHOWN = "2026-01-02 03:04:05+0000", "2026-01-02 03:05:05+0000"
LATER = AT + timedelta(minutes=1)
ID = UUID(int=1)
SENTENCES: dict[str, Reason] = {
    "1 event is waiting in queue q at the front (row 9)": Waiting(1, "q", 9, ahead=0),
    "2 events are waiting in queue q behind 3 others (row 9)": Waiting(2, "q", 9, ahead=3),
    "1 event is waiting in queue q at the front of its own rows (row 9); its share is all deliveries": WaitingForShare(
        1, "q", 9, ahead=0, weight=1, total=1, tenants=1
    ),
    "1 event is waiting in queue q behind 1 row of its own (row 9); its share is 25% of the deliveries (weight 1 of 4,"
    " 2 tenants)": WaitingForShare(1, "q", 9, ahead=1, weight=1, total=4, tenants=2),
    f"1 event is put back until {SHOWN} (queue q, delayed row 9)": PutBack(1, "q", 9, AT, AT, 0, None),
    f"2 events are put back until {SHOWN} to {LATER_SHOWN} after E: no (queue q, delayed row 9, 3 deliveries so far)": (
        PutBack(2, "q", 9, AT, LATER, 3, "E: no")
    ),
    f"1 event is waiting for a lock on s.t {ID}, which no session holds any more: the next delivery applies them": (
        LockHeld(1, "s.t", ID, None)
    ),
    f"1 event is waiting for a lock on s.t {ID}: session 5 (ana, psql, idle in transaction, in a transaction since"
    f" {SHOWN}) holds it; end its transaction, or `SELECT pg_terminate_backend(5)`": LockHeld(
        1, "s.t", ID, 5, "ana", "psql", "idle in transaction", AT
    ),
    f"1 event is waiting for a lock on s.t {ID}: session 5 (?) holds it; end its transaction,"
    " or `SELECT pg_terminate_backend(5)`": LockHeld(1, "s.t", ID, 5),
    "1 event is waiting for a worker that knows the type and version: x is unknown (queue q, row 9, next delivery at"
    f" {SHOWN}; dead letters after TALLYMAN_UNKNOWN_PATIENCE; `workers list` shows which versions run)": UnknownHere(
        1, "q", 9, AT, "x is unknown"
    ),
    f"1 event is parked since {SHOWN}: 2 slots of account are taken": Parked(1, "q", 9, "account", 2, AT),
    f"no call of account is made until {SHOWN}: slow down": CoolingDown("account", "slow down", AT),
    f"1 event is ordered behind 2 others of subject {ID} (`explain event {ID}`)": BehindOthers(1, ID, 2, ID),
    f"queue q is paused since {SHOWN} by ana: upgrade (`queues resume q`)": QueuePaused("q", "ana", "upgrade", AT),
    "no worker serves queue q (`work --queue q`, or `work` for all)": NobodyServes("q"),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_reason_has_a_sentence(sentence: str) -> None:
    """It names what an operator needs: the position, the time, the session, the command."""
    assert SENTENCES[sentence].sentence == sentence


def test_programs_tell_the_reasons_by_kind() -> None:
    """Each kind is one reason; an effect's event and a handler's event both wait."""
    kinds = {type(reason): reason.kind for reason in SENTENCES.values()}
    assert kinds[Waiting] == kinds.pop(WaitingForShare) == "waiting"
    assert len(set(kinds.values())) == len(kinds)
