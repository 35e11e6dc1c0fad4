"""Plain Procrastinate with a budget: a task for each page locks the run's row while it calls the marketplace.

This is what one would write: `SELECT … FOR UPDATE` on the run, check the budget, call, store the items, add the price,
defer the next page, commit. The lock keeps the budget exact among tasks. A crash between the call and the commit loses
the charge. As a program: `python -m app.bench.plain_collection <concurrency> <marketplace url>`, until SIGTERM.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import procrastinate
from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from app import database
from app.bench import processes
from app.bench.temporary_database import TemporaryDatabase
from app.collection.gateway import Account
from app.collection.http_market import HttpMarketplace
from app.context import Connection

QUEUE = "plain_pages"
API_KEY = "demo-key"
TIMEOUT_S = 15.0

TABLES = (
    sql.SQL(
        "CREATE TABLE IF NOT EXISTS public.plain_runs (id uuid PRIMARY KEY, cap integer NOT NULL,"
        " spent integer NOT NULL DEFAULT 0, items integer NOT NULL DEFAULT 0, open_categories integer NOT NULL)"
    ),
    sql.SQL(
        "CREATE TABLE IF NOT EXISTS public.plain_items (run_id uuid NOT NULL REFERENCES public.plain_runs,"
        " external_id text NOT NULL, data jsonb, PRIMARY KEY (run_id, external_id))"
    ),
    sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public.plain_runs, public.plain_items TO service_role"),
)
"""Tables of this contender, for the benchmark's setup as owner."""

_RUN = "INSERT INTO public.plain_runs (id, cap, open_categories) VALUES (%s, %s, %s)"
_LOCK = "SELECT cap - spent FROM public.plain_runs WHERE id = %s FOR UPDATE"
_ITEMS = """
INSERT INTO public.plain_items (run_id, external_id, data)
SELECT %s, external_id, data FROM unnest(%s::text[], %s::jsonb[]) AS found (external_id, data)
ON CONFLICT DO NOTHING
"""
_BOOK = """
UPDATE public.plain_runs SET spent = spent + %s, items = items + %s, open_categories = open_categories - %s
 WHERE id = %s
"""


class PlainCollection:
    """A Procrastinate app with one task: collect a page."""

    def __init__(self, temp_database: TemporaryDatabase, url: str) -> None:
        self.conninfo = database.conninfo(temp_database.url)
        self.app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=self.conninfo))
        self.pool: AsyncConnectionPool[AsyncConnection[Any]]
        self.account = Account(UUID(int=0), url, SecretStr(API_KEY), TIMEOUT_S)
        self.market: HttpMarketplace | None = None
        self.page = self.app.task(name="plain_page", queue=QUEUE)(self._page)

    def submit(self, connection: Connection, categories: Sequence[str], price: int, cap: int) -> UUID:
        """Insert a run and defer the first page of each category. The app must be open."""
        run_id = uuid4()
        with connection.transaction():
            connection.execute(_RUN, [run_id, cap, len(categories)])
            for category in categories:
                self.page.configure(connection=connection).defer(
                    run_id=str(run_id), category=category, cursor="", price=price
                )
        return run_id

    async def serve(self, concurrency: int) -> None:
        """Run a worker until SIGTERM or SIGINT."""
        size = max(8, 2 * concurrency)
        async with (
            self.app.open_async(),
            AsyncConnectionPool(self.conninfo, min_size=2, max_size=size) as self.pool,
        ):
            await self.app.run_worker_async(queues=[QUEUE], concurrency=concurrency)

    async def _page(self, *, run_id: str, category: str, cursor: str, price: int) -> None:
        self.market = self.market or HttpMarketplace()
        async with self.pool.connection() as connection, connection.transaction():
            row = await (await connection.execute(_LOCK, [run_id])).fetchone()
            if row is None or row[0] < price:
                return
            found = await self.market.fetch(self.account, f"{run_id}-{category}-{cursor}", category, cursor)
            columns = [one.external_id for one in found.items], [Jsonb(one.data) for one in found.items]
            await connection.execute(_ITEMS, [run_id, *columns])
            ended = 0 if found.next_cursor else 1
            await connection.execute(_BOOK, [found.charged_cents, len(found.items), ended, run_id])
            if found.next_cursor:
                await self.page.configure(connection=connection).defer_async(
                    run_id=run_id, category=category, cursor=found.next_cursor, price=price
                )


@contextmanager
def serving(environment: Mapping[str, str], url: str, concurrency: int) -> Iterator[None]:
    """Run a worker process of plain Procrastinate during the block."""
    command = [sys.executable, "-m", __name__, str(concurrency), url]
    with processes.running(command, environment):
        yield


def _main(concurrency: str, url: str) -> None:
    own = database.url()
    asyncio.run(PlainCollection(TemporaryDatabase("", own, own), url).serve(int(concurrency)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
