"""Health: the process answers, and it can work."""

from __future__ import annotations

import psycopg
from fastapi import FastAPI

from app.context import Connection
from app.engine.queue import workers
from app.testing.database import Database
from tests.helpers.web import TestClient


def test_the_process_answers(client: TestClient) -> None:
    """`/healthz` needs nothing but the process."""
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_readiness_names_what_is_missing(client: TestClient, connection: Connection, database: Database) -> None:
    """Ready: a live worker and every migration. A migration that is not applied, or no live worker: 503."""
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "database": "ok",
        "migrations": "ok",
        "worker": "none is alive: python cli.py work",
    }

    connection.execute(workers.REGISTER, workers.introduced(None))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")

    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        row = superuser.execute(
            "DELETE FROM engine.schema_migrations WHERE name LIKE '0039%' RETURNING name, sha256, applied_at"
        ).fetchone()
        try:
            answer = client.get("/readyz")
        finally:
            superuser.execute("INSERT INTO engine.schema_migrations VALUES (%s, %s, %s)", row)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "1 pending" in answer.json()["checks"]["migrations"]


def test_a_database_that_does_not_answer(client: TestClient, application: FastAPI) -> None:
    """A closed pool stands for a server that is away: `/readyz` is 503, `/healthz` 200."""
    application.state.pool.close()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"database": "does not answer"})
    assert client.get("/healthz").status_code == 200
