"""`bench collection`: pages a second of a run under a budget, from its creation to its completion."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import LiteralString
from uuid import UUID

from psycopg import sql
from pydantic import SecretStr

from app.bench import plain_collection, watch
from app.bench.conditions import conditions
from app.bench.job_fixtures import NotExact
from app.bench.plain_collection import API_KEY, PlainCollection
from app.bench.processes import working
from app.bench.report import Report
from app.bench.rounds import Claim, Contender, Measured, alternate
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.collection import accounts
from app.collection.effects import QUEUE
from app.collection.rules import CategoryPlan
from app.collection.runs import create_run
from app.context import Connection, Context
from app.demo.processes import MarketplaceProcess, marketplace
from app.engine.routing import EVENTS_QUEUE
from app.settings import using
from app.tenancy.orgs import add_member
from app.tenancy.store import create_workspace
from events import new_id

PAGES = 1_600
CATEGORIES = 32
"""Categories of the run. The pages of one follow each other, so at most so many calls could run at once."""
ITEMS_A_PAGE = 10
PRICE_CENTS = 3
CALLS = 8
"""Concurrent calls that the account allows."""
LATENCIES_MS = (0, 20)
"""Latencies of the marketplace for a page, in milliseconds."""
MARKETPLACE = "amazon.de"
OURS, PLAIN = "Tallyman, 1 worker", "plain Procrastinate"
PATIENCE_S = 60.0
_SLOWEST = 5.0
"""Pages a second below which a run fails."""

_AT_WORK: LiteralString = "SELECT count(*) = %(count)s FROM public.procrastinate_workers"
_DONE: LiteralString = "SELECT status = 'completed' FROM collection.collection_runs WHERE id = %(run)s"
_PLAIN_DONE: LiteralString = "SELECT open_categories = 0 FROM public.plain_runs WHERE id = %(run)s"
_BOOKS: LiteralString = """
SELECT actual_cost_cents, processed_items,
       (SELECT count(*) FROM collection.collection_pages p WHERE p.run_id = r.id AND p.status = 'completed')
  FROM collection.collection_runs r WHERE id = %s
"""
_PLAIN_BOOKS: LiteralString = "SELECT spent, items FROM public.plain_runs WHERE id = %s"
_EMPTY = sql.SQL(
    "TRUNCATE collection.collection_runs, collection.sellers, engine.event_log, engine.failed_jobs, engine.calls,"
    " engine.slots, engine.parked, engine.delayed, engine.rescues, engine.event_rescues, engine.rests,"
    " public.procrastinate_jobs, public.plain_items, public.plain_runs RESTART IDENTITY CASCADE"
)

Say = Callable[[str], None]
_Key = tuple[int, str]
"""The marketplace's latency in milliseconds, and a contender."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """An organisation and its marketplace. Rates are pages a second."""

    temp_database: TemporaryDatabase
    market: MarketplaceProcess
    org_id: UUID
    user_id: UUID
    pages: int
    keys: str = field(repr=False)

    @property
    def categories(self) -> Sequence[str]:
        """The run's categories. They have equally many pages."""
        return [f"category-{n}" for n in range(CATEGORIES)]

    @property
    def total(self) -> int:
        """All pages of a run."""
        return self.pages * CATEGORIES

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a worker process."""
        return {**self.temp_database.environment(), "TALLYMAN_KEYS": self.keys}

    def contenders(self) -> dict[_Key, Contender]:
        """Return all contenders for every latency of the marketplace."""
        found: dict[_Key, Contender] = {}
        for latency in LATENCIES_MS:
            found[latency, OURS] = partial(self._ours, latency)
            found[latency, PLAIN] = partial(self._plain, latency)
        return found

    def _ours(self, latency: int) -> float:
        with self._round(latency) as connection, working(self.environment, 1):
            # The process has a worker for events and one for effects.
            watch.until(connection, _AT_WORK, {"count": 2}, within=PATIENCE_S, what="workers at work")
            began = time.perf_counter()
            run = create_run(
                Context.start(connection, self.org_id),
                marketplace=MARKETPLACE,
                categories=[CategoryPlan(name, self.pages, PRICE_CENTS) for name in self.categories],
                created_by=self.user_id,
                cap_cents=self.total * PRICE_CENTS,
            )
            seconds = self._until(connection, _DONE, run.id, began)
            watch.until_quiet(connection, EVENTS_QUEUE, QUEUE, within=PATIENCE_S)
            found = connection.execute(_BOOKS, [run.id]).fetchone()
            if found != (self.total * PRICE_CENTS, self.total * ITEMS_A_PAGE, self.total):
                raise NotExact(f"spent, items and pages are {found}")
        return self.total / seconds

    def _plain(self, latency: int) -> float:
        url = f"{self.market.url}/{MARKETPLACE}"
        plain = PlainCollection(self.temp_database, url)
        worker = plain_collection.serving(self.environment, url, CALLS)
        with self._round(latency) as connection, worker, plain.app.open():
            watch.until(connection, _AT_WORK, {"count": 1}, within=PATIENCE_S, what="workers at work")
            began = time.perf_counter()
            run_id = plain.submit(connection, self.categories, PRICE_CENTS, self.total * PRICE_CENTS)
            seconds = self._until(connection, _PLAIN_DONE, run_id, began)
            found = connection.execute(_PLAIN_BOOKS, [run_id]).fetchone()
            if found != (self.total * PRICE_CENTS, self.total * ITEMS_A_PAGE):
                raise NotExact(f"plain Procrastinate spent and stored {found}")
        return self.total / seconds

    @contextmanager
    def _round(self, latency: int) -> Iterator[Connection]:
        """Empty the tables. Raises `NotExact` unless the marketplace charged each page once at the end."""
        self.temp_database.arrange(_EMPTY, sql.SQL("VACUUM ANALYZE"))
        self.market.change(latency_ms=latency)
        before = self.market.ledger()
        with self.temp_database.connect() as connection:
            yield connection
        charged = [cents for name, cents in self.market.ledger().items() if name not in before]
        if (len(charged), sum(charged)) != (self.total, self.total * PRICE_CENTS):
            raise NotExact(f"the marketplace charged {len(charged)} pages, {sum(charged)} cents")

    def _until(self, connection: Connection, condition: LiteralString, run_id: UUID, began: float) -> float:
        within = PATIENCE_S + self.total / _SLOWEST
        watch.until(connection, condition, {"run": run_id}, within=within, what="run completed")
        return time.perf_counter() - began


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure both contenders with `scale` times the usual number of pages. Figures are pages a second."""
    pages = scaled(PAGES // CATEGORIES, scale, least=2)
    with _stage(pages) as (stage, made):
        with made.connect() as connection:
            where = conditions(connection)
        say(f"collect {stage.total:,} pages of {CATEGORIES} categories, with {CALLS} calls at once")
        found: dict[_Key, Measured] = {}
        contenders = stage.contenders()
        for latency in LATENCIES_MS:
            both = {name: contenders[latency, name] for name in (OURS, PLAIN)}
            measured = alternate(f"marketplace of {latency} ms", "pages/s", both, rounds)
            found |= {(latency, name): one for name, one in measured.items()}
    return Report("collection", where, list(found.values()), _claims(found), _NOTES)


@contextmanager
def _stage(pages: int) -> Iterator[tuple[_Stage, TemporaryDatabase]]:
    keys = "bench:" + base64.b64encode(os.urandom(32)).decode()
    one = {"pages": pages, "items": ITEMS_A_PAGE, "price_cents": PRICE_CENTS}
    behaviour = {"api_keys": {API_KEY: "bench"}, "default_category": one}
    with temporary_database() as made, marketplace(behaviour) as market, using(keys=SecretStr(keys)):
        made.arrange(*plain_collection.TABLES)
        with made.connect() as connection:
            org_id = create_workspace(connection, f"bench {new_id()}").org_id
            user = add_member(connection, org_id, "bench@example.org", "admin")
            context, url = Context.start(connection, org_id), f"{market.url}/{MARKETPLACE}"
            accounts.set_account(context, MARKETPLACE, api_key=SecretStr(API_KEY), base_url=url, max_calls=CALLS)
            accounts.enable_account(context, MARKETPLACE)
        yield _Stage(made, market, org_id, user.user_id, pages, keys), made


def _claims(found: dict[_Key, Measured]) -> list[Claim]:
    return [
        Claim(
            f"marketplace of {latency} ms: Tallyman ÷ plain Procrastinate",
            found[latency, OURS].median / found[latency, PLAIN].median,
            least=5 if latency else None,
        )
        for latency in LATENCIES_MS
    ]


_NOTES = (
    (
        "pages a second from the creation of a run to its completion; every round the marketplace's ledger is compared:"
        " each page charged once, no cent above the cap, in both contenders"
    ),
    (
        f"plain Procrastinate: one worker, concurrency {CALLS}, a task for each page, which holds `SELECT … FOR UPDATE`"
        " on the run over the call; so the calls of one run follow each other. It keeps no page, no checkpoint and no"
        " mark of the call, and does not normalise items"
    ),
    "marketplace, worker, server and measurement share the cores",
)
