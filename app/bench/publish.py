"""`bench publish`: rate of publishing events, one event a transaction and all in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from app.bench import rows
from app.bench.conditions import conditions
from app.bench.job_fixtures import JobFixtures, job_fixtures
from app.bench.plain import QUEUE, Plain
from app.bench.report import Report
from app.bench.rounds import Claim, Contender, Measured, alternate
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.bench.worker import clear_desk
from app.context import Connection
from app.engine.queue.publish import publish, publish_all
from app.engine.routing import EVENTS_QUEUE
from events import Event

SINGLES = 2_000
"""Events published one a transaction."""
BULK = 50_000
"""Events published in one transaction."""

OURS, PLAIN_SAME, PLAIN_OWN, LIMIT = (
    "publish()",
    "plain Procrastinate, the caller's connection",
    "plain Procrastinate, a connection of its own",
    "limit, bare INSERT",
)
BATCHES, ROWS = "publish_all(), batches", "publish_all(), one event a row"
BATCH, COPY_BATCHES, COPY_ROWS = (
    "plain Procrastinate, batch_defer",
    "limit, COPY of the batches",
    "limit, COPY of the rows",
)

_INSERT = (
    "INSERT INTO public.procrastinate_jobs (queue_name, task_name, priority, args) VALUES ('events', 'consume', 10, %s)"
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    """Events, and the ways to publish them. Each contender returns events a second."""

    temp_database: TemporaryDatabase
    fixtures: JobFixtures
    kept: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def said(self) -> Sequence[Event[Any]]:
        return self.fixtures.said

    def singles(self) -> dict[str, Contender]:
        """Return the contenders that publish one event a transaction."""
        return {OURS: self._publish, PLAIN_SAME: self._defer, PLAIN_OWN: self._defer_alone, LIMIT: self._insert}

    def bulk(self) -> dict[str, Contender]:
        """Return the contenders that publish all events in one transaction."""
        return {
            BATCHES: lambda: self._publish_all(None),
            ROWS: lambda: self._publish_all(1),
            BATCH: self._batch_defer,
            COPY_BATCHES: lambda: self._copy(BATCHES),
            COPY_ROWS: lambda: self._copy(ROWS),
        }

    def keep(self) -> None:
        """Save the queue rows that the program writes, for COPY."""
        for name, batch_size in ((BATCHES, None), (ROWS, 1)):
            self._publish_all(batch_size)
            self.kept[name] = rows.keep(self.temp_database)

    def _publish(self) -> float:
        with self._connection() as connection:
            began = time.perf_counter()
            for event in self.said:
                with connection.transaction():
                    publish(connection, event)
            return self._rate(began, EVENTS_QUEUE)

    def _defer(self) -> float:
        plain, arguments = Plain(self.temp_database), self._arguments()
        with self._connection() as connection, plain.app.open():
            began = time.perf_counter()
            for event in arguments:
                with connection.transaction():
                    plain.counted.configure(connection=connection).defer(event=event)
            return self._rate(began, QUEUE)

    def _defer_alone(self) -> float:
        plain, arguments = Plain(self.temp_database), self._arguments()
        self.temp_database.arrange(rows.EMPTY)
        with plain.app.open():
            began = time.perf_counter()
            for event in arguments:
                plain.counted.defer(event=event)
            return self._rate(began, QUEUE)

    def _insert(self) -> float:
        texts = [event.json_bytes().decode() for event in self.said]
        with self._connection() as connection:
            began = time.perf_counter()
            for text in texts:
                with connection.transaction():
                    connection.execute(_INSERT, [text])
            return self._rate(began, EVENTS_QUEUE)

    def _publish_all(self, batch_size: int | None) -> float:
        with self._connection() as connection:
            began = time.perf_counter()
            with connection.transaction():
                publish_all(connection, self.said, batch_size=batch_size)
            return self._rate(began, EVENTS_QUEUE)

    def _batch_defer(self) -> float:
        plain, arguments = Plain(self.temp_database), [{"event": event} for event in self._arguments()]
        self.temp_database.arrange(rows.EMPTY)
        with plain.app.open():
            began = time.perf_counter()
            plain.counted.batch_defer(*arguments)
            return self._rate(began, QUEUE)

    def _copy(self, name: str) -> float:
        self.temp_database.arrange(rows.EMPTY)
        seconds = rows.copy_in(self.temp_database, self.kept[name])
        rows.check_waiting(self.temp_database, EVENTS_QUEUE, len(self.said))
        return len(self.said) / seconds

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        self.temp_database.arrange(rows.EMPTY)
        with self.temp_database.connect() as connection:
            yield connection

    def _arguments(self) -> list[Any]:
        return [json.loads(event.json_bytes()) for event in self.said]

    def _rate(self, began: float, queue: str) -> float:
        seconds = time.perf_counter() - began
        rows.check_waiting(self.temp_database, queue, len(self.said))
        return len(self.said) / seconds


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure both ways with `scale` times the usual number of events. Figures are events a second."""
    singles, bulk = scaled(SINGLES, scale), scaled(BULK, scale)
    with temporary_database() as made:
        with made.connect() as connection:
            where = conditions(connection)
        one, many = (_Stage(made, job_fixtures(made, (count,))) for count in (singles, bulk))
        # Before the timed runs, because the first run also imports modules.
        many.keep()
        say(f"publish {singles:,} events, one a transaction")
        with clear_desk():
            each = alternate(f"{singles:,} transactions", "events/s", one.singles(), rounds)
        say(f"publish {bulk:,} events in one transaction")
        with clear_desk():
            together = alternate(f"{bulk:,} in one", "events/s", many.bulk(), rounds)
    return Report("publish", where, [*each.values(), *together.values()], _claims(each, together), _NOTES)


_NOTES = (
    (
        "all contenders publish the same results of items (robot/item.completed), from objects to the commit; "
        "the waiting events are counted after every run"
    ),
    (
        "one a transaction: publish(), INSERT and defer on the caller's connection need BEGIN, a statement and COMMIT; "
        "plain Procrastinate on a separate connection needs one statement, but is not in the caller's transaction"
    ),
    (
        "COPY: the rows that publish_all() wrote, as prepared text, by the table's owner without row-level security, "
        "because COPY does not write under policies; "
        "Procrastinate's triggers fire for all contenders"
    ),
)


def _claims(each: dict[str, Measured], together: dict[str, Measured]) -> list[Claim]:
    def ratio(found: dict[str, Measured], name: str, other: str) -> float:
        return found[name].median / found[other].median

    return [
        Claim("one a transaction: publish() ÷ plain, same connection", ratio(each, OURS, PLAIN_SAME)),
        Claim("one a transaction: publish() ÷ plain, own connection", ratio(each, OURS, PLAIN_OWN)),
        Claim("one a transaction: publish() ÷ limit", ratio(each, OURS, LIMIT)),
        Claim("in one: batches ÷ batch_defer", ratio(together, BATCHES, BATCH), least=5),
        Claim("in one: batches ÷ limit", ratio(together, BATCHES, COPY_BATCHES)),
        Claim("in one: one event a row ÷ batch_defer", ratio(together, ROWS, BATCH)),
        Claim("in one: one event a row ÷ limit", ratio(together, ROWS, COPY_ROWS)),
    ]
