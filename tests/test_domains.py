"""Domains in packages that TALLYMAN_DOMAINS names: what the program derives, and what it refuses at its start."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app.postgres.embedded import Embedded
from app.testing.database import Database
from tests.helpers.children import CLI, finished, without_database_urls

FILES: Mapping[str, str] = {
    "__init__.py": """
from pathlib import Path
from app.engine.registration import Domain
DOMAIN = Domain(
    name="bells", schemas=("bells",), parts="bells_of_ours.parts:PARTS", commands={"bells": "bells_of_ours.cli:app"},
    migrations=Path(__file__).with_name("migrations"),
)
""",
    "cli.py": """
import typer
from uuid import uuid4
app = typer.Typer(help="Bells that ring.")

@app.callback()
def bells() -> None: ...

@app.command()
def ring(bell: str) -> None:
    from app import database
    from app.context import Context
    from app.engine.queue.publish import publish
    from bells_of_ours.parts import Rung
    import events
    with database.connect() as connection, connection.transaction():
        now = Context.start(connection, uuid4()).now
        publish(connection, events.new(Rung(bell=bell), now=now, subject=None, tenant=None))
""",
    "parts.py": """
from uuid import UUID, uuid4
from app.engine.domain import Invariant, Wiring
from app.engine.health.doctor import Checkup
from app.engine.inspect.reasons import Reason
from app.engine.registration import Explainer, Parts
from dataclasses import dataclass
from app.errors import NotFound
from events import Payload
from events.base import event_type

@event_type("bell/rung")
class Rung(Payload):
    bell: str

@dataclass(frozen=True, slots=True)
class Known(Reason):
    kind = "known"
    @property
    def sentence(self) -> str:
        return "a bell needs no reason"

def rung(moment, events):
    for event in events:
        moment.connection.execute("INSERT INTO bells.rings (bell) VALUES (%s)", [event.data.bell])
    return ()

def explain_job(_connection, id_):
    if id_ != UUID(int=7):
        raise NotFound(f"job: {id_} is no bell")
    return [Known()]

PARTS = Parts(
    wirings=(Wiring(handlers={Rung: rung}, effects={}),),
    invariants=(Invariant("no bell is silent", "SELECT bell FROM bells.rings WHERE bell = 'silent'"),),
    checkups=(Checkup("bells", lambda _: (), "the bells hang"),),
    explainers=(Explainer(job=explain_job),),
    tables=("bells.rings",),
)
""",
    "migrations/0001_rings.sql": """
CREATE SCHEMA bells;
CREATE TABLE bells.rings (bell text NOT NULL);
ALTER TABLE bells.rings ENABLE ROW LEVEL SECURITY;
ALTER TABLE bells.rings FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON bells.rings TO service_role USING (true) WITH CHECK (true);
GRANT USAGE ON SCHEMA bells TO service_role;
GRANT SELECT, INSERT ON bells.rings TO service_role;
""",
}
"""A domain of another package: an event, its handler and table, a command, a check, an invariant, an explanation."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package `bells_of_ours`, outside the program's directory."""
    for name, content in FILES.items():
        path = tmp_path / "bells_of_ours" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def own_database(server: Embedded) -> Iterator[dict[str, str]]:
    """The environment of a separate database, because of the domain's schema."""
    name = sql.Identifier("tallyman_domains")
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER tallyman_owner").format(name))
    urls = (server.service_url, server.owner_url, server.superuser_url)
    made = Database("tallyman_domains", *(make_conninfo(url, dbname="tallyman_domains") for url in urls))
    yield made.environment("/nonexistent")
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def run(package: Path, own_database: dict[str, str]) -> Run:
    """Run `cli.py` as a user of the package."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        named = {"PYTHONPATH": str(package), "TALLYMAN_DOMAINS": "bells_of_ours:DOMAIN"}
        return finished(
            *CLI, *arguments, environment={**without_database_urls(), **own_database, **named, **environment}
        )

    return run


def test_everything_follows_from_the_declaration_of_a_domain(run: Run, own_database: dict[str, str]) -> None:
    """Migrations, commands, events, `audit`, `doctor` and `explain`."""
    assert run("db", "migrate").returncode == 0
    assert "bells/0001_rings.sql" in json.loads(run("db", "status", "--json").stdout)["applied"]
    assert "Bells that ring." in run("--help").stdout
    assert run("bells", "ring", "great").returncode == 0
    assert json.loads(run("events", "check", "--live", "--json").stdout)["invalid"] == 0
    assert run("events", "tail", "--no-follow", "--type", "bell/*").returncode == 0
    with psycopg.connect(own_database["DATABASE_URL"], options="-c role=service_role") as connection:
        connection.execute("INSERT INTO bells.rings VALUES ('silent')")
    audited = run("audit")
    assert (audited.returncode, "no bell is silent" in audited.stdout) == (1, True)
    assert "the bells hang" in run("doctor").stdout
    known = "00000000-0000-0000-0000-000000000007"
    assert json.loads(run("explain", "job", known, "--json").stdout)["kind"] == "known"
    assert run("explain", "job", known.replace("7", "8")).returncode == 2


def test_a_process_without_the_domain_still_migrates(run: Run) -> None:
    """Its files do not count as a newer program. `status` lists them."""
    assert run("db", "migrate").returncode == 0
    assert run("db", "migrate", TALLYMAN_DOMAINS="").returncode == 0
    found = json.loads(run("db", "status", "--json", TALLYMAN_DOMAINS="").stdout)
    assert (found["elsewhere"], found["unknown"]) == (["bells/0001_rings.sql"], [])


def test_an_edited_migration_of_a_domain_is_refused(run: Run, package: Path) -> None:
    """The error names the file."""
    assert run("db", "migrate").returncode == 0
    path = package / "bells_of_ours/migrations/0001_rings.sql"
    path.write_text(path.read_text(encoding="utf-8") + "-- more\n", encoding="utf-8")
    refused = run("db", "migrate")
    assert (refused.returncode, "bells/0001_rings.sql" in refused.stderr) == (1, True)


def test_a_worker_without_the_domains_tables_does_not_start(run: Run) -> None:
    """The error names the table and the command."""
    assert run("db", "migrate", TALLYMAN_DOMAINS="").returncode == 0
    refused = run("work")
    assert refused.returncode == 1
    assert "bells.rings" in refused.stderr
    assert "db migrate" in refused.stderr


@pytest.mark.parametrize(
    ("setting", "files", "message"),
    [
        ("bells_of_ours", {}, "must be package.module:NAME"),
        ("nowhere:DOMAIN", {}, "No module named 'nowhere'"),
        ("bells_of_ours:OTHER", {}, "cannot be imported"),
        ("bells_of_ours:Domain", {}, "is a type, not a Domain"),
        ("bells_of_ours:DOMAIN,bells_of_ours:DOMAIN", {}, "'bells' is claimed twice"),
        (
            "bells_of_ours:DOMAIN",
            {"__init__.py": ('schemas=("bells",)', 'schemas=("logistics",)')},
            "schema 'logistics'",
        ),
        ("bells_of_ours:DOMAIN", {"__init__.py": ('"bells": ', '"jobs": ')}, "command 'jobs' is claimed twice"),
        ("bells_of_ours:DOMAIN", {"__init__.py": ('"bells": ', '"audit": ')}, "command 'audit' is claimed twice"),
        ("bells_of_ours:DOMAIN", {"__init__.py": ('name="bells"', 'name="engine"')}, "'engine' cannot be a name"),
        ("bells_of_ours:DOMAIN", {"__init__.py": ('"migrations"', '"nowhere"')}, "does not exist"),
        ("bells_of_ours:DOMAIN", {"parts.py": ('"bell/rung"', '"robot/job.submitted"')}, "robot/job.submitted"),
        ("bells_of_ours:DOMAIN", {"__init__.py": (".parts:PARTS", ".gone:PARTS")}, "bells_of_ours.gone"),
    ],
)
def test_a_bad_domain_is_refused_at_the_start(
    run: Run, package: Path, setting: str, files: dict[str, tuple[str, str]], message: str
) -> None:
    """One line names the domain and its claim. The command does nothing."""
    for name, (old, new) in files.items():
        path = package / "bells_of_ours" / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
    refused = run("carriers", "list", TALLYMAN_DOMAINS=setting) if "parts" not in str(files) else run("audit")
    assert refused.returncode == 1, refused.stdout
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
