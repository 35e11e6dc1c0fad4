"""`python cli.py db`: output and exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from app.postgres import embedded
from tests.helpers.children import CLI, finished, without_database_urls

ROOT = Path(__file__).parent.parent
NOBODY = "postgresql://somebody:secret@127.0.0.1:1/nothing"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of these tests' embedded server."""
    place = tmp_path_factory.mktemp("home")
    yield place
    embedded.reset(place)


@pytest.fixture
def run(home: Path) -> Run:
    """Run `cli.py` with arguments and environment variables, on the embedded server by default."""

    def run(*arguments: str, stdin: int = subprocess.DEVNULL, **environment: str) -> subprocess.CompletedProcess[str]:
        whole = {**without_database_urls(), "TALLYMAN_HOME": str(home), **environment}
        return finished(*CLI, *arguments, environment=whole, stdin=stdin)

    return run


def _data_remains(home: Path) -> bool:
    return embedded.status(home).size_bytes > 0


def test_start_status_migrate_url_stop(run: Run) -> None:
    """Each step prints one JSON object."""
    started = json.loads(run("db", "start", "--json").stdout)
    assert started["running"]
    before = json.loads(run("db", "status", "--json").stdout)
    assert before["pid"] == started["pid"]
    assert "0001_roles.sql" in before["pending"]
    migrated = json.loads(run("db", "migrate", "--json").stdout)
    assert migrated["applied"] == before["pending"]
    assert "robot/item.completed" in migrated["event_types"]
    assert json.loads(run("db", "migrate", "--json").stdout) == {"applied": [], "event_types": []}
    assert json.loads(run("db", "status", "--json").stdout)["pending"] == []
    assert json.loads(run("db", "stop", "--json").stdout) == {"stopped": True}
    assert json.loads(run("db", "stop", "--json").stdout) == {"stopped": False}
    assert not json.loads(run("db", "status", "--json").stdout)["running"]


@pytest.mark.parametrize(("switches", "login"), [([], "tallyman"), (["--owner"], "tallyman_owner")])
def test_the_url_is_one_to_connect_with(run: Run, switches: list[str], login: str) -> None:
    """`url` prints only a URL, and starts the server."""
    address = run("db", "url", *switches).stdout.strip()
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT session_user::text").fetchone() == (login,)


def test_off_a_terminal_a_line_is_a_value(run: Run) -> None:
    """Without --json the output is tab-separated."""
    lines = dict(line.split("\t") for line in run("db", "status").stdout.splitlines())
    assert lines["server"] == "embedded"


def test_reset_needs_a_terminal_or_yes(run: Run, home: Path) -> None:
    """Otherwise nothing is deleted, exit code 2."""
    run("db", "start")
    done = run("db", "reset")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    assert _data_remains(home)


def test_reset_takes_no_for_an_answer(run: Run, home: Path) -> None:
    """The question is on stderr. After a no nothing is deleted, exit code 1."""
    run("db", "start")
    ours, theirs = pty.openpty()
    os.write(ours, b"n\n")
    done = run("db", "reset", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Delete everything" in done.stderr
    assert _data_remains(home)


def test_reset_with_yes_deletes(run: Run, home: Path) -> None:
    """The server and its data, running or not. A second reset has nothing to delete."""
    run("db", "start")
    assert json.loads(run("db", "reset", "--yes", "--json").stdout) == {"deleted": True}
    assert not _data_remains(home)
    assert json.loads(run("db", "reset", "--yes", "--json").stdout) == {"deleted": False}


@pytest.mark.parametrize("verb", ["start", "reset"])
def test_another_server_is_neither_started_nor_deleted(run: Run, verb: str) -> None:
    """With DATABASE_URL such commands are refused, exit code 2."""
    done = run("db", verb, DATABASE_URL=NOBODY)
    assert done.returncode == 2
    assert "DATABASE_URL is set" in done.stderr


def test_an_unreachable_server_is_one_line(run: Run) -> None:
    """Exit code 1, without stack trace and password."""
    done = run("db", "status", DATABASE_URL=NOBODY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: database: connection failed")
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


def test_a_malformed_address_is_not_printed(run: Run) -> None:
    """The driver's message would show the password."""
    done = run("db", "migrate", DATABASE_URL="postgresql:somebody:secret@nowhere")
    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr
    assert "secret" not in done.stderr


def test_with_json_an_error_is_an_object(run: Run) -> None:
    """On stderr."""
    done = run("db", "reset", "--json", DATABASE_URL=NOBODY)
    problem = json.loads(done.stderr)
    assert (done.returncode, done.stdout, problem["error"]) == (2, "", "InvalidInput")
    assert "DATABASE_URL is set" in problem["message"]


def test_a_bad_setting_is_named(run: Run) -> None:
    """Without a stack trace."""
    done = run("db", "status", TALLYMAN_POLLING_INTERVAL="often")
    assert "TALLYMAN_POLLING_INTERVAL" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_imports_nothing_slow() -> None:
    """Neither queue nor driver nor settings."""
    question = "import cli, sys; print({'procrastinate', 'psycopg', 'pydantic', 'rich'} & set(sys.modules))"
    done = finished(sys.executable, "-c", question)
    assert done.stdout == "set()\n"
