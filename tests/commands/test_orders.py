"""`orders`: import, list, change and cancel."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.context import Connection
from tests.commands.conftest import Run
from tests.helpers.support import scalar

CSV = "reference,recipient_name,address,city,units\nA-1,Ana,Calle 1,Cali,\nA-2,José,Calle 2,Bogotá,2\n"


@pytest.fixture
def file(run: Run, tmp_path: Path) -> Path:
    """A file with two orders, and a workspace."""
    run("workspaces", "create", "Acme")
    path = tmp_path / "orders.csv"
    path.write_text(CSV)
    return path


def test_a_file_is_imported_and_listed(run: Run, file: Path) -> None:
    """A second import finds the orders."""
    assert run("orders", "import", file, "--json").rows == [{"created": 2, "existing": 0, "bad": 0, "problems": []}]
    assert run("orders", "import", file).out.splitlines() == ["created\t0", "existing\t2", "bad\t0"]
    assert [(row["reference"], row["units"]) for row in run("orders", "list", "--json").rows] == [
        ("A-1", 1),
        ("A-2", 2),
    ]
    assert run("orders", "list", "--status", "pending").out.splitlines()[0].split("\t")[:2] == ["id", "reference"]


def test_a_page_names_the_option_for_the_next(run: Run, file: Path) -> None:
    """On stderr, so that stdout has only rows."""
    run("orders", "import", file)
    first = run("orders", "list", "--limit", 1, "--json")
    assert f"--after {first.rows[0]['id']}" in first.err
    assert run("orders", "list", "--after", first.rows[0]["id"], "--json").rows[0]["reference"] == "A-2"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"reference,city\nA,Cali\n", "line 1: column recipient_name is missing"),
        (CSV.encode("latin-1"), "line 3, byte 8: 0xE9 is not UTF-8"),
        (CSV.encode() + b"A-3,Eva,,Cali,0\n", "line 4: address: must not be empty; units: must be greater than 0"),
        (CSV.encode() + b"A-1,Eva,Calle 3,Cali,1\n", "line 4: reference: A-1 is on line 2 already"),
    ],
)
def test_a_bad_file_leaves_nothing(run: Run, file: Path, content: bytes, words: str) -> None:
    """Problems with their lines, exit code 2, and no order."""
    file.write_bytes(content)
    done = run("orders", "import", file)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert run("orders", "list", "--json").rows == []


def test_bad_rows_can_be_skipped(run: Run, file: Path) -> None:
    """The problems are part of the result."""
    file.write_text(CSV + "A-3,Eva,,Cali,1\n")
    (done,) = run("orders", "import", file, "--skip-bad", "--json").rows
    assert done == {"created": 2, "existing": 0, "bad": 1, "problems": ["line 4: address: must not be empty"]}


def test_a_missing_file_is_refused(run: Run, file: Path) -> None:
    """Exit code 2 without a stack trace."""
    done = run("orders", "import", file.with_name("none.csv"))
    assert (done.code, "none.csv: cannot be read" in done.err) == (2, True)


def test_an_order_is_changed_with_an_event(run: Run, file: Path, connection: Connection) -> None:
    """By its reference."""
    run("orders", "import", file)
    (order,) = run("orders", "update", "A-1", "--set", "city=Tunja", "--set", "department= ", "--json").rows
    assert (order["city"], order["department"]) == ("Tunja", None)
    row = connection.execute("SELECT args FROM public.procrastinate_jobs").fetchone()
    assert row is not None
    assert row[0]["data"] == {"order_id": order["id"], "before": {"city": "Cali"}, "after": {"city": "Tunja"}}


def test_orders_are_cancelled_with_an_event(run: Run, file: Path, connection: Connection) -> None:
    """Only with --yes off a terminal, and not with --dry-run."""
    run("orders", "import", file)
    refused = run("orders", "cancel", "A-1", "A-2")
    assert (refused.code, "use --yes" in refused.err) == (2, True)
    tried = run("orders", "cancel", "A-1", "A-2", "--dry-run", "--json")
    assert [row["status"] for row in tried.rows] == ["cancelled", "cancelled"]
    assert [row["status"] for row in run("orders", "list", "--json").rows] == ["pending", "pending"]
    assert [row["status"] for row in run("orders", "cancel", "A-1", "A-2", "--yes", "--json").rows] == [
        "cancelled",
        "cancelled",
    ]
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") in {1, 2}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["A-1", "--set", "units=0", "--set", "context=1"], "context: cannot be changed"),
        (["A-1", "--set", "units"], "--set units: must be FIELD=VALUE"),
        (["A-1", "--set", "units=1", "--set", "units=2"], "each field once"),
        (["A-9", "--set", "units=1"], "order: the workspace has no 'A-9'"),
    ],
)
def test_a_bad_change_is_refused(run: Run, file: Path, arguments: list[str], words: str) -> None:
    """In one line with exit code 2."""
    run("orders", "import", file)
    done = run("orders", "update", *arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert words in done.err
