"""A bare FastAPI application that stores each body with one durable INSERT: `python -m app.bench.bare_webhooks PORT`.

It checks nothing and publishes nothing. Uses DATABASE_URL and the table `bare_webhooks`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request, Response
from psycopg_pool import AsyncConnectionPool

from app import database

TABLE = "CREATE TABLE bare_webhooks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)"
PATH = "/webhooks"
_INSERT = "INSERT INTO bare_webhooks (body) VALUES (%s)"


def create() -> FastAPI:
    """Return the application."""
    app = FastAPI(lifespan=_lifespan)

    @app.post(PATH)
    async def take(request: Request) -> Response:
        body = (await request.body()).decode()
        async with request.app.state.pool.connection() as connection:
            await connection.execute(_INSERT, [body])
        return Response("<Response/>", media_type="text/xml")

    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncConnectionPool(database.conninfo(), min_size=8, max_size=8, kwargs={"autocommit": True}) as pool:
        app.state.pool = pool
        yield


def _main(port: str) -> None:
    uvicorn.run(create(), host="127.0.0.1", port=int(port), log_config=None, access_log=False)


if __name__ == "__main__":
    _main(*sys.argv[1:])
