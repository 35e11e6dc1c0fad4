"""Seeded bugs: wrong versions of the engine that the enumeration of crash points must detect.

Only here is our own code replaced: the tests check that a wrong version of it is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pytest

from app import database as doors
from app.context import Connection
from app.engine.delivery import apply, consume, ledger
from app.engine.delivery.engine import Engine
from app.engine.domain import Call
from app.engine.effects import joining, prepare
from app.engine.effects import record as outcomes
from app.engine.effects.batch import EffectBatch, Task
from app.engine.effects.verdict import Verdict
from app.engine.queue.envelope import QueuedEvent, Row, open_rows
from app.engine.queue.lease import Delivery, LeaseLost
from app.engine.queue.publish import publish
from app.engine.worker import rescue
from app.testing.crashes import crash_everywhere
from events import Event
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.toy import say, want
from tests.helpers.wrong_handlers import Telegraph

Seed = Callable[[pytest.MonkeyPatch], None]

_READ = "SELECT id, args::text FROM public.procrastinate_jobs WHERE id = %s"
_REMOVE = "DELETE FROM public.procrastinate_jobs WHERE id = %s"


def no_ledger(patch: pytest.MonkeyPatch) -> None:
    """Every event counts as new."""
    right = ledger.enter

    def record(connection: Connection, queued_events: Sequence[QueuedEvent]) -> list[Event[Any]]:
        right(connection, queued_events)
        return [queued.event for queued in queued_events if isinstance(queued.event, Event)]

    patch.setattr(apply, "enter", record)


def ledger_of_its_own(patch: pytest.MonkeyPatch) -> None:
    """The ledger is written in a transaction of its own, before the handler's."""
    right = ledger.enter

    def record(_connection: Connection, queued_events: Sequence[QueuedEvent]) -> list[Event[Any]]:
        with doors.connect() as connection:
            return right(connection, queued_events)

    patch.setattr(apply, "enter", record)


def published_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Following events are published on another connection, whether or not the transaction commits."""

    def publish_all(_connection: Connection, events: Iterable[Event[Any]], **_ids: Any) -> int:
        said = list(events)
        with doors.connect() as connection:
            publish(connection, *said)
        return len(said)

    patch.setattr(apply, "publish_all", publish_all)


def published_after_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Following events are published in another transaction after the commit."""
    right = consume._deliver  # noqa: SLF001 - the wrong version is the right one and something after it
    said: list[Event[Any]] = []

    def collect(_connection: Connection, events: Iterable[Event[Any]], **_ids: Any) -> int:
        said[:] = list(events)
        return len(said)

    def deliver(engine: Engine, delivery: Delivery, limit: int, queued_events: list[QueuedEvent]) -> int:
        said.clear()
        applied = right(engine, delivery, limit, queued_events)
        with engine.pool.connection() as connection:
            publish(connection, *said)
        return applied

    patch.setattr(apply, "publish_all", collect)
    patch.setattr(consume, "_deliver", deliver)


def _acknowledges(
    engine: Engine, delivery: Delivery, _limit: int, queued_events: list[QueuedEvent], *, first: bool
) -> int:
    """Deliver one row, and remove it in another transaction."""
    with engine.pool.connection() as connection:
        rows = [Row(*row) for row in connection.execute(_READ, [delivery.row_id])]
        if not rows:
            raise LeaseLost
        queued_events[:] = open_rows(rows)
        if first:
            connection.execute(_REMOVE, [delivery.row_id])
    with engine.pool.connection() as connection:
        applied = apply.apply(connection, queued_events)
    with engine.pool.connection() as connection:
        connection.execute(_REMOVE, [delivery.row_id])
    return applied


def acknowledged_before(patch: pytest.MonkeyPatch) -> None:
    """The row is removed before its events are applied."""
    patch.setattr(consume, "_deliver", partial(_acknowledges, first=True))


def acknowledged_after(patch: pytest.MonkeyPatch) -> None:
    """The row is removed after its events are applied."""
    patch.setattr(consume, "_deliver", partial(_acknowledges, first=False))


def never_in_doubt(patch: pytest.MonkeyPatch) -> None:
    """No call is told that it may have been made before."""
    patch.setattr(prepare, "Call", lambda in_doubt, *known: Call(in_doubt is None, *known))


def doubt_forgotten_by_a_rescue(patch: pytest.MonkeyPatch) -> None:
    """A rescue forgets the delivery's calls."""
    patch.setattr(rescue, "_BY_INDEX", "DELETE FROM engine.calls")


def outcome_said_apart(patch: pytest.MonkeyPatch) -> None:
    """The result of a call is published in one transaction and recorded in another."""

    def publish_apart(_connection: Connection, *events: Event[Any]) -> None:
        with doors.connect() as connection:
            publish(connection, *events)

    patch.setattr(outcomes, "publish", publish_apart)


def outcome_recorded_apart(patch: pytest.MonkeyPatch) -> None:
    """The result of a call is recorded in one transaction, and the row is removed in the next."""
    right = outcomes._record  # noqa: SLF001 - the wrong version is the right one, elsewhere

    def record(_connection: Connection, batch: EffectBatch, ended: list[tuple[Task, Verdict]]) -> None:
        with doors.connect() as connection:
            right(connection, batch, ended)

    patch.setattr(outcomes, "_record", record)
    # Without locks on the calls, or the two transactions would wait for each other.
    patch.setattr(joining, "_HOLD", joining._HOLD.replace("%(calls)s", "'{}'"))  # noqa: SLF001 - no other way


EVENTS: tuple[Seed, ...] = (
    no_ledger,
    ledger_of_its_own,
    published_before_the_commit,
    published_after_the_commit,
    acknowledged_before,
    acknowledged_after,
)
EFFECTS: tuple[Seed, ...] = (never_in_doubt, doubt_forgotten_by_a_rescue, outcome_said_apart, outcome_recorded_apart)


WORDS: dict[Seed, str] = {
    no_ledger: "delivered twice",
    ledger_of_its_own: "is at two places: waiting and applied",
    published_before_the_commit: "the event that it follows from was not applied",
    published_after_the_commit: "- applied: toy/echo.heard",
    acknowledged_before: "is lost",
    acknowledged_after: "is at two places: waiting and applied",
    never_in_doubt: "'a', 'a'",
    doubt_forgotten_by_a_rescue: "'a', 'a'",
    outcome_said_apart: "the event that it follows from was not applied",
    outcome_recorded_apart: "is at two places: waiting and applied",
}
"""What gives each of them away."""


def _name(seed: Seed) -> str:
    return seed.__name__


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("seed", EVENTS, ids=_name)
def test_a_bug_in_the_delivery_of_events_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: Seed
) -> None:
    """A right handler with a wrong engine."""
    seed(monkeypatch)
    with pytest.raises(AssertionError, match=WORDS[seed]):
        crash_everywhere(database, toy.hear, [say("a", echoes=1)])


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("seed", EFFECTS, ids=_name)
def test_a_bug_in_the_delivery_of_effects_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: Seed
) -> None:
    """A right effect with a wrong engine."""
    seed(monkeypatch)
    telegraph = Telegraph()
    with pytest.raises(AssertionError, match=WORDS[seed]):
        crash_everywhere(
            database, telegraph.effect(), [want("a")], arrange=telegraph.sent.clear, observe=telegraph.observe
        )
