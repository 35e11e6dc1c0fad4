"""The commands of every batch, for the card domain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from app.commands.batches import sub_app
from app.commands.edge import Edge
from app.context import Connection
from app.engine import batches, domain
from app.testing.drain import drain_all
from tests.commands.conftest import Outcome
from tests.conftest import Database
from tests.helpers import cards
from tests.helpers.cards import PRINTS, Office, PrintShop
from tests.helpers.factories import make_workspace


@pytest.fixture
def office(database: Database, connection: Connection) -> Iterator[Office]:
    """The only workspace, which submits cards."""
    cards.install(database)
    shop = PrintShop()
    with domain.use(batches.wiring(PRINTS, batches.effect(PRINTS, queue="prints", call=shop.print, find=shop.find))):
        yield Office(connection, make_workspace(connection).id)


@pytest.fixture
def run(office: Office) -> Any:
    """Runs a command of the batch."""
    root = typer.Typer(cls=Edge, pretty_exceptions_enable=False)
    root.add_typer(sub_app(lambda: PRINTS, help_="Print jobs."), name="prints")

    def command(*arguments: object) -> Outcome:
        done = CliRunner().invoke(root, ["prints", *map(str, arguments)])
        return Outcome(done.exit_code, done.stdout, done.stderr)

    return command


def test_a_job_is_listed_shown_and_watched(run: Any, office: Office) -> None:
    """With the domain's columns, pages of items, and errors by type. The exit code is 1 if all items failed."""
    job = office.submit("a", "nowhere")
    drain_all(office.connection)
    (row,) = run("list", "--json").rows
    assert (row["job_id"], row["status"], row["paper"]) == (str(job.id), "completed", "matt")
    assert run("list", "--status", "failed", "--json").rows == []
    (shown,) = run("show", job.id, "--limit", 1, "--json").rows
    assert (shown["by_error_type"], shown["items"][0]["address"]) == ({"validation": 1}, "a")
    (rest,) = run("show", job.id, "--after", shown["next_after"], "--json").rows
    assert [item["address"] for item in rest["items"]] == ["nowhere"]
    assert "more items follow: --after" in run("show", job.id, "--limit", 1).err
    watched = run("watch", job.id)
    assert (watched.code, watched.out) == (0, "completed: 2/2 done, 1 done, 1 failed (1 validation), 0/s\n")
    failed = office.submit("nowhere")
    drain_all(office.connection)
    assert run("watch", failed.id, "--json").code == 1


def test_failed_items_are_retried(run: Any, office: Office) -> None:
    """All, or those that are named. A job without failures is no error."""
    job = office.submit("nowhere", "a")
    drain_all(office.connection)
    bad, good = office.cards(job.id)
    refused = run("retry", job.id, "--item", good.id)
    assert (refused.code, "only failed items can be retried" in refused.err) == (2, True)
    (row,) = run("retry", job.id, "--item", bad.id, "--json").rows
    assert (row["retried_items"], row["generation"], row["status"]) == (1, 2, "processing")
    assert "no item failed" in run("retry", job.id).err


def test_a_job_is_cancelled(run: Any, office: Office) -> None:
    """With a reason. Items that have not begun fail."""
    job = office.submit("a")
    assert run("cancel", job.id, "--yes").code == 2
    (would,) = run("cancel", job.id, "--reason", "x", "--dry-run", "--json").rows
    assert (would["cancelled_items"], would["status"]) == (1, "pending")
    (row,) = run("cancel", job.id, "--reason", "wrong text", "--actor", "ann", "--yes", "--json").rows
    assert (row["cancelled_items"], row["in_hand"], row["cancelled_by"]) == (1, 0, "ann")


def test_a_result_is_recorded(run: Any, office: Office) -> None:
    """A success with its fields, or an error. Bad input has exit code 2 and names the field."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    for wrong, why in (
        ((), "give either --result FIELD=VALUE or --error, not both"),
        (("--result", "P-1"), "must be FIELD=VALUE"),
        (("--result", "ink=red"), "ink"),
    ):
        refused = run("record", first.id, *wrong, "--reason", "saw it")
        assert (refused.code, why in refused.err) == (2, True)
    assert run("record", first.id, "--result", "print_number=P-1", "--reason", "saw it").code == 0
    (row,) = run("record", second.id, "--error", "lost", "--reason", "saw it", "--json").rows
    assert (row["item"], row["status"], row["success_count"], row["error_count"]) == (str(second.id), "completed", 1, 1)
    one, two = office.cards(job.id)
    assert (one.print_number, two.error_type, two.error_message) == ("P-1", "unknown", "lost")


def test_a_job_and_an_item_are_explained(run: Any, office: Office) -> None:
    """In typed reasons. An unknown job has exit code 2."""
    job = office.submit("nowhere")
    (card,) = office.cards(job.id)
    drain_all(office.connection)
    assert [row["kind"] for row in run("explain", job.id, "--json").rows] == ["done"]
    (row,) = run("explain", job.id, "--item", card.id, "--json").rows
    assert (row["kind"], row["command"]) == ("item_failed", "prints")
    unknown = run("show", card.id, "--json")
    assert unknown.code == 2
    assert "is no job of this workspace" in json.loads(unknown.err)["message"]
