"""Output of commands: for people, pipes and programs; errors with exit codes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import typer
from pydantic import BaseModel, SecretStr
from typer.testing import CliRunner

from app.commands.edge import Edge, report
from app.commands.output import Json, emit, plain
from app.errors import Busy, DuplicateRequest, InvalidFile, NotFound, SetupError

SOME_ID = UUID(int=7)


class Colour(StrEnum):
    """An enum."""

    RED = "red"


@dataclass(frozen=True)
class Order:
    """A row."""

    city: str
    units: int | None


class Login(BaseModel):
    """A model with a secret."""

    password: SecretStr


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SOME_ID, str(SOME_ID)),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (timedelta(minutes=1), 60.0),
        (Decimal("0.10"), "0.10"),
        (Path("a/b"), "a/b"),
        (Colour.RED, "red"),
        (Order("Cali", None), {"city": "Cali", "units": None}),
        ({SOME_ID: {1}}, {str(SOME_ID): [1]}),
        (Login(password=SecretStr("hidden")), {"password": "**********"}),
    ],
)
def test_every_value_has_a_json_form(value: object, expected: object) -> None:
    """A secret has none."""
    assert plain(value) == expected


def test_rows_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A JSON line for each row; off a terminal a heading and tab-separated lines, nothing cut."""
    rows = [Order("Bogotá\tD.C.", 2), Order("x" * 300, None)]
    emit(rows, as_json=True)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [plain(row) for row in rows]
    emit(iter(rows), as_json=False)
    assert capsys.readouterr().out.splitlines() == ["city\tunits", "Bogotá\\tD.C.\t2", "x" * 300 + "\t"]


def test_people_may_get_another_form(capsys: pytest.CaptureFixture[str]) -> None:
    """`human` is printed as text; JSON has the data."""
    emit({"applied": []}, as_json=False, human="up to date")
    emit({"applied": []}, as_json=True, human="up to date")
    assert capsys.readouterr().out == 'up to date\n{"applied": []}\n'


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("no such job"), 2),
        (InvalidFile("orders.csv", ["line 7: city: must not be empty"]), 2),
        (SetupError("no keys"), 1),
        (Busy("later"), 1),
        (psycopg.OperationalError("connection failed"), 1),
        (KeyError("a bug"), 1),
    ],
)
def test_an_error_has_a_code_and_no_trace(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """2 for bad input, 1 for work that failed. The first line on stderr has the reason."""
    assert report(error, as_json=False) == code
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert (said.out, "Traceback" in said.err) == ("", False)


def test_problems_of_a_file_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Up to fifty as text, all of them as JSON."""
    error = InvalidFile("orders.csv: 60 bad lines", [f"line {n}: bad" for n in range(60)])
    report(error, as_json=False)
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["error: orders.csv: 60 bad lines", "  line 0: bad"]
    assert (len(said), said[-1]) == (52, "  and 10 more")
    report(error, as_json=True)
    assert len(json.loads(capsys.readouterr().err)["problems"]) == 60


def test_an_errors_ids_are_json_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """For example the id of a duplicate's job."""
    report(DuplicateRequest("k", SOME_ID), as_json=True)
    problem = json.loads(capsys.readouterr().err)
    assert (problem["error"], problem["job_id"], problem["key"]) == ("DuplicateRequest", str(SOME_ID), "k")


def test_an_interrupt_is_130() -> None:
    """Ctrl-C ends a command with this exit code, without a stack trace."""
    app = typer.Typer(cls=Edge, pretty_exceptions_enable=False)

    @app.command()
    def wait(*, as_json: Json = False) -> None:
        raise KeyboardInterrupt(as_json)

    @app.command()
    def other() -> None:
        """Make it a group."""

    done = CliRunner().invoke(app, ["wait"])
    assert (done.exit_code, done.stdout) == (130, "")
