"""Ordering against a model: random publications, deliveries, failures, crashes, replays and discards.

The model has the order of publication and the discarded events. At any time, the applied events of a subject are the
beginning of that order, and every event is in one place. Events that are not sequenced are never delayed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import database as doors
from app.context import Connection
from app.engine import domain
from app.engine.delivery.engine import Engine
from app.engine.inspect.invariants import audit
from app.engine.queue import ordering
from app.engine.queue.publish import publish
from events import Event
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.sequences import Step, StepFaults, deliver, engine, fetch, make_due, paths, replay, step, taken

# A step on one of three paths, or None for a word; how it fares; whether the publication is one batch.
EVENTS = st.lists(st.tuples(st.sampled_from([0, 0, 1, 2, None]), st.sampled_from("...sb")), min_size=1, max_size=6)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), EVENTS, st.booleans()),
        st.tuples(st.sampled_from(["deliver", "deliver", "deliver_all", "make_due", "crash", "mend"])),
        st.tuples(st.sampled_from(["replay", "discard"]), st.integers(0, 5)),
    ),
    max_size=25,
)

_EMPTY = """
TRUNCATE toy.heard, engine.sequence, engine.event_log, engine.failed_jobs, engine.delayed, public.procrastinate_jobs,
         public.procrastinate_events, public.procrastinate_periodic_defers CASCADE
"""
_PLACES = """
SELECT event_id, 'applied' FROM engine.event_log
UNION ALL SELECT event_id, 'dead' FROM engine.failed_jobs WHERE resolved_at IS NULL
UNION ALL SELECT event_id, 'waiting' FROM engine.sequence WHERE held IS NOT NULL
UNION ALL
SELECT (e ->> 'id')::uuid, 'waiting'
  FROM engine.waiting(),
       jsonb_array_elements(CASE WHEN args ? 'events' THEN args -> 'events' ELSE jsonb_build_array(args) END) e
"""


@dataclass(slots=True)
class Model:
    """The published events in order, and the discarded ones."""

    connection: Connection
    worker: Engine
    step_faults: StepFaults
    subjects: list[UUID] = field(default_factory=lambda: paths(3))
    said: list[Event[Step] | Event[toy.Said]] = field(default_factory=list)
    given_up: set[UUID] = field(default_factory=set)
    replayed: set[UUID] = field(default_factory=set)

    def act(self, name: str, *arguments: Any) -> None:
        """Do one action."""
        match name:
            case "publish":
                self.publish(arguments[0], together=arguments[1])
            case "deliver":
                deliver(self.worker, self.connection)
            case "make_due":
                make_due(self.connection)
            case _:
                getattr(self, name)(*arguments)

    def publish(self, wanted: list[tuple[int | None, str]], *, together: bool) -> None:
        """Publish steps and words with their faults."""
        made: list[Event[Step] | Event[toy.Said]] = []
        for path, fault in wanted:
            n = len(self.said) + len(made)
            if path is None:
                made.append(toy.say(f"word{n}"))
                continue
            made.append(step(self.subjects[path], n))
            if fault == "s":
                self.step_faults.shaky[n] = 1 + n % 3
            elif fault == "b":
                self.step_faults.broken.add(n)
        self.said += made
        publish(self.connection, *made, batch_size=None if together else 1)

    def deliver_all(self) -> None:
        """Deliver all due rows. Afterwards no word waits."""
        while deliver(self.worker, self.connection):
            pass
        words = [event.data.word for event in self.said if isinstance(event.data, toy.Said)]
        assert self.words() == sorted(words)

    def crash(self) -> None:
        """Fetch a row with a worker that crashes, and rescue it."""
        fetch(self.connection)
        self.connection.execute(
            "UPDATE public.procrastinate_jobs SET status = 'todo', attempts = attempts + 1, worker_id = NULL"
            " WHERE status = 'doing'"
        )

    def mend(self) -> None:
        """Remove all faults, as a deployment does."""
        self.step_faults.broken.clear()
        self.step_faults.shaky.clear()

    def dead(self) -> list[UUID]:
        """Return the dead events, oldest first."""
        rows = self.connection.execute(
            "SELECT event_id FROM engine.failed_jobs WHERE resolved_at IS NULL ORDER BY failed_at, event_id"
        )
        return [event_id for (event_id,) in rows]

    def replay(self, which: int) -> None:
        """Replay a dead event."""
        if dead := self.dead():
            event_id = dead[which % len(dead)]
            self.replayed.add(event_id)
            replay(self.connection, event_id)

    def discard(self, which: int) -> None:
        """Discard a dead event that is not being replayed."""
        if dead := [event_id for event_id in self.dead() if event_id not in self.replayed]:
            event_id = dead[which % len(dead)]
            self.given_up.add(event_id)
            with self.connection.transaction():
                ordering.release(self.connection, [event_id])
                self.connection.execute(
                    "UPDATE engine.failed_jobs SET resolved_at = now() WHERE event_id = %s", [event_id]
                )

    def words(self) -> list[str]:
        """Return the applied words."""
        return [word for (word,) in self.connection.execute("SELECT word FROM toy.heard WHERE word !~ ':' ORDER BY 1")]

    def expected(self, path: UUID) -> list[int]:
        """Return the steps of a path that will be applied in the end."""
        return [
            event.data.n
            for event in self.said
            if isinstance(event.data, Step) and event.subject == path and event.id not in self.given_up
        ]

    def check(self) -> None:
        """Check every rule at this commit."""
        for path in self.subjects:
            so_far = taken(self.connection, path)
            assert so_far == self.expected(path)[: len(so_far)]
        assert all(verdict.holds for verdict in audit(self.connection, ordering.INVARIANTS))
        places: dict[UUID, set[str]] = {}
        for event_id, found in self.connection.execute(_PLACES):
            places.setdefault(event_id, set()).add(found)
        for event in self.said:
            found_in = places.get(event.id, set())
            # A replayed event waits and is dead, until its delivery decides; every other one is in one place.
            most = 0 if event.id in self.given_up else 2 if event.id in self.replayed else 1
            assert min(most, 1) <= len(found_in) <= most
        assert not [event_id for event_id, found in places.items() if {"applied", "dead"} <= found]

    def finish(self) -> None:
        """Remove all faults, replay the dead events, the newest first, and deliver everything."""
        self.mend()
        for _ in range(len(self.said) + 1):
            for event_id in reversed(self.dead()):
                self.replayed.add(event_id)
                replay(self.connection, event_id)
            make_due(self.connection)
            self.deliver_all()
        assert not self.waits()
        for path in self.subjects:
            assert taken(self.connection, path) == self.expected(path)

    def waits(self) -> bool:
        """Return whether events are in the queue or held."""
        return bool(self.connection.execute(f"SELECT FROM ({_PLACES}) p (id, place) WHERE place = 'waiting'").rowcount)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_random_actions_keep_the_order(
    database: Database, outside: toy.Outside, actions: list[tuple[Any, ...]]
) -> None:
    """All rules hold after each action. In the end all events are applied that were not discarded."""
    step_faults = StepFaults()
    with (
        psycopg.connect(database.superuser_url, autocommit=True) as admin,
        doors.connect(database.url, autocommit=True) as connection,
        domain.use(step_faults.wiring()),
        engine(database) as worker,
    ):
        admin.execute(_EMPTY)
        model = Model(connection, worker, step_faults)
        for name, *arguments in actions:
            model.act(name, *arguments)
            model.check()
        model.finish()
