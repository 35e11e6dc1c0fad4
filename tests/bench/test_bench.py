"""Every benchmark runs, reports figures and conditions, and leaves no database. Speed is not checked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from app.bench.job_fixtures import NotExact
from app.bench.rounds import alternate
from app.bench.watch import until
from app.context import Connection
from cli import app
from tests.conftest import Database


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


def bench(*arguments: object) -> Outcome:
    """Run `bench …` in this process."""
    done = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    return Outcome(done.exit_code, done.stdout, done.stderr)


def measured(name: str, *options: object) -> dict[str, Any]:
    """Return the report of one round of a benchmark."""
    words = name.split()
    done = bench(*words, *options, "--rounds", 1, "--json")
    assert done.code == 0, done.err
    (line,) = done.out.splitlines()
    document: dict[str, Any] = json.loads(line)
    assert document["bench"] == words[0]
    return document


@pytest.mark.parametrize(
    ("command", "scale", "contenders", "bounded"),
    [
        ("fan-in", 0.0005, {"batches", "one by one, stale", "plain Procrastinate", "limit, chunks of 500"}, 18),
        ("publish", 0.002, {"publish()", "plain Procrastinate, batch_defer", "limit, COPY of the batches"}, 1),
        ("latency", 0.01, {"Tallyman", "plain Procrastinate"}, 2),
        ("backlog", 0.001, {"one by one", "batches", "plain Procrastinate"}, 14),
        ("submit", 0.001, {"Tallyman", "plain Procrastinate", "limit, COPY of the same rows"}, 1),
        ("robots --portal-ms 0", 0.01, {"Tallyman, 1 worker", "Tallyman, 2 workers", "plain Procrastinate"}, 0),
        ("memory", 0.0001, {"Tallyman, 20 results", "Tallyman, 100 results", "plain Procrastinate, 20 results"}, 1),
        ("crash", 0.3, {"Tallyman, single rows", "Tallyman, one batch", "plain Procrastinate"}, 2),
        ("held", 0.001, {"batches, free", "batches, held", "one by one, held", "plain Procrastinate, held"}, 2),
        ("webhooks", 0.001, {"Tallyman", "bare FastAPI, one INSERT"}, 1),
        ("fairness", 0.01, {"alone", "beside a flood", "beside 4 that hang", "in turns"}, 4),
    ],
)
def test_a_benchmark_reports_each_contender_and_leaves_no_database(
    database: Database, command: str, scale: float, contenders: set[str], bounded: int
) -> None:
    """Figures above zero, the conditions, and the bounded claims."""
    document = measured(command, "--scale", scale)

    found = document["measured"]
    assert contenders <= {one["contender"] for one in found}
    assert all(one["median"] > 0 and len(one["values"]) == 1 and one["unit"] for one in found)
    assert document["conditions"]["server"]["fsync"] == "on"
    assert len([one for one in document["claims"] if one["least"] or one["most"]]) == bounded
    assert document["notes"]
    assert _databases_of_benchmarks(database) == []


def test_a_report_as_text_has_conditions_and_ratios(database: Database) -> None:
    """In tables. Notes are on stderr."""
    done = bench("publish", "--scale", 0.001, "--rounds", 1)

    assert done.code == 0, done.err
    assert "client and server on one machine" in done.out
    assert "in one: batches ÷ batch_defer" in done.out
    assert "counted after every run" in done.err
    assert _databases_of_benchmarks(database) == []


def test_rounds_alternate_in_direction() -> None:
    """Each contender runs once a round. The median is of its own figures."""
    ran: list[str] = []

    def contender(name: str, *figures: float) -> Callable[[], float]:
        left = iter(figures)

        def run() -> float:
            ran.append(name)
            return next(left)

        return run

    found = alternate("all", "events/s", {"a": contender("a", 1, 9, 2), "b": contender("b", 3, 3, 3)}, rounds=3)

    assert ran == ["a", "b", "b", "a", "a", "b"]
    assert list(found["a"].values) == [1, 9, 2]
    assert found["a"].median == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["publish", "--scale", "0"], "--scale"),
        (["backlog", "--scale", "much"], "--scale"),
        (["robots", "--rounds", "0"], "--rounds"),
        (["robots", "--portal-ms", "-1"], "--portal-ms"),
        (["fan-in", "--domain", "nowhere"], "'nowhere' declares no jobs for benchmarks"),
        (["plot"], "files"),
        (["plot", "no-such-file.json"], "files"),
    ],
)
def test_a_bad_option_is_refused(arguments: list[str], named: str) -> None:
    """Exit code 2, with its name."""
    done = bench(*arguments)

    assert done.code == 2
    assert named in done.err.lower()


def test_a_wait_without_end_is_an_error(connection: Connection) -> None:
    """The benchmark names its condition."""
    with pytest.raises(NotExact, match="the end: not within"):
        until(connection, "SELECT false", {}, within=0.1, what="the end")


def _report(name: str, *contenders: str) -> str:
    one = {"what": "all", "unit": "events/s", "median": 2.0, "values": [1.0, 2.0, 4.0]}
    return json.dumps({"bench": name, "conditions": {}, "measured": [{**one, "contender": who} for who in contenders]})


def test_plot_draws_a_picture_of_each_benchmark(tmp_path: Path) -> None:
    """A PNG named like it."""
    reports = tmp_path / "reports.jsonl"
    reports.write_text(
        _report("publish", "Tallyman", "plain Procrastinate") + "\n" + _report("held", "Tallyman") + "\n"
    )
    figures = tmp_path / "figures"

    done = bench("plot", reports, "--out", figures, "--json")

    assert done.code == 0, done.err
    drawn = [Path(json.loads(line)["picture"]) for line in done.out.splitlines()]
    assert drawn == [figures / "publish.png", figures / "held.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in drawn)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "contains no report"),
        ("not json", "must contain only reports"),
        (_report("held", "a") + "\n" + _report("held", "b"), "several reports of held"),
    ],
)
def test_plot_refuses_other_files(tmp_path: Path, text: str, why: str) -> None:
    """Nothing is drawn."""
    reports = tmp_path / "reports.jsonl"
    reports.write_text(text)

    done = bench("plot", reports, "--out", tmp_path / "figures")

    assert done.code == 2
    assert why in done.err
    assert not (tmp_path / "figures").exists()


def test_plot_needs_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the remedy."""
    # What the import system makes of a module that is not installed.
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    reports = tmp_path / "reports.jsonl"
    reports.write_text(_report("held", "Tallyman"))

    done = bench("plot", reports, "--out", tmp_path)

    assert done.code == 1
    assert "requirements-dev.lock" in done.err


def _databases_of_benchmarks(database: Database) -> list[str]:
    with psycopg.connect(database.superuser_url) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, 'tallyman_bench_')")
        return [name for (name,) in found]
