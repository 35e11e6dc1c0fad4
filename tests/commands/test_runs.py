"""`runs`, `settings`, `marketplaces` and `sellers`, on the real database and a simulated marketplace."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from app.context import Connection
from app.simulators.marketplace import Behaviour, Category, Marketplace
from app.testing.drain import drain
from tests.commands.conftest import Run

CATEGORIES = {"toys": Category(pages=2, items=3, price_cents=5), "books": Category(pages=1, items=3, price_cents=4)}


@pytest.fixture
def shop(run: Run, marketplace: Marketplace) -> Marketplace:
    """An organisation with one admin and an enabled account at a marketplace."""
    marketplace.start_over(Behaviour(categories=CATEGORIES))
    run("workspaces", "create", "Acme")
    run("orgs", "add-member", "ana@example.org", "--role", "admin")
    done = run(
        *("marketplaces", "set", "amazon.de", "--key-stdin", "--enable", "--base-url", f"{marketplace.url}/amazon.de"),
        stdin="demo-key\n",
    )
    assert (done.code, "demo-key" in done.out + done.err) == (0, False)
    return marketplace


def create(run: Run, *arguments: str) -> dict[str, Any]:
    """Create a run. Returns its line."""
    done = run("runs", "create", "--marketplace", "amazon.de", *arguments, "--json")
    assert done.code == 0, done.err
    return done.rows[0]


def test_a_run_is_created_from_the_marketplace_s_quote_and_completes(run: Run, shop: Marketplace) -> None:
    """Without pages and price in the request, the marketplace is asked for them; the ledger equals what is shown."""
    made = create(run, "--category", "toys", "--category", "books")
    assert (made["status"], made["estimate_cents"], made["cap_cents"]) == ("pending", 14, 2500)
    drain()
    done = run("runs", "watch", made["run_id"], "--json")
    last = done.rows[-1]
    assert (done.code, last["status"], last["pages"], last["processed_items"]) == (0, "completed", 3, 9)
    assert last["spent_cents"] == last["at_completion_cents"] == shop.ledger.cents == 14
    (shown,) = run("runs", "show", made["run_id"], "--json").rows
    assert shown["items"] == [{"status": "completed", "error_code": None, "items": 9}]
    assert len(run("runs", "items", made["run_id"], "--json").rows) == 9
    assert made["run_id"] in run("runs", "list", "--status", "completed").out


def test_a_run_pauses_at_its_cap_and_goes_on_when_it_is_raised(run: Run, shop: Marketplace) -> None:
    """`settings set` wakes it, and says so."""
    run("settings", "set", "--cap", "9", "--actor", "olga")
    made = create(run, "--category", "toys:2@5", "--category", "books:1@4", "--over-cap")
    drain()
    (paused,) = run("runs", "show", made["run_id"], "--json").rows
    assert (paused["status"], paused["pause_reason"]) == ("paused", "budget")
    assert paused["spent_cents"] == shop.ledger.cents <= 9
    raised = run("settings", "set", "--cap", "20")
    assert made["run_id"] in raised.err
    drain()
    assert run("runs", "show", made["run_id"], "--json").rows[0]["status"] == "completed"
    assert shop.ledger.cents == 14


def test_pause_resume_and_cancel_say_the_state_that_forbids_them(run: Run, shop: Marketplace) -> None:
    """Exit code 2, one line, nothing changed."""
    made = create(run, "--category", "toys")
    for command, words in (("pause", "is pending"), ("resume", "is waiting for a place already")):
        done = run("runs", command, made["run_id"])
        assert (done.code, done.out, words in done.err) == (2, "", True)
    assert run("runs", "cancel", made["run_id"], "--yes").code == 0
    done = run("runs", "cancel", made["run_id"], "--yes")
    assert (done.code, "is cancelled" in done.err) == (2, True)
    assert run("runs", "watch", made["run_id"], "--json").code == 1
    assert shop.ledger.cents == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--category", "toys:12"], "'toys:12' is not ID or ID:PAGES@CENTS"),
        (["--category", "toys:1@x"], "is not ID or ID:PAGES@CENTS"),
        (["--category", "toys:1000@5"], "the estimate is 5,000 cents and the cap 2,500 cents"),
        (["--category", "toys:1@5", "--cap", "-1"], "cap_cents"),
        (["--category", "toys:1@5", "--user", "bob@example.org"], "user: 'bob@example.org' is no member"),
        (["--category", "toys:1@5", "--org", "Nobody"], "org: there is no 'Nobody'"),
        (["--category", "toys:1@5", "--category", "toys"], "toys"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(
    run: Run, shop: Marketplace, arguments: list[str], words: str
) -> None:
    """It names the field, and creates nothing."""
    done = run("runs", "create", "--marketplace", "amazon.de", *arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert words in done.err
    assert run("runs", "list", "--json").rows == []


def test_a_marketplace_that_is_unknown_disabled_or_away_is_an_error(run: Run, shop: Marketplace) -> None:
    """An account that is missing or disabled is exit code 2, a marketplace that cannot be asked 1."""
    wanted = ("--category", "toys")
    assert run("runs", "create", "--marketplace", "ebay.com", *wanted).code == 2
    shop.change(is_down=True)
    assert run("runs", "create", "--marketplace", "amazon.de", *wanted).code == 1
    assert run("marketplaces", "disable", "amazon.de").code == 0
    assert run("runs", "create", "--marketplace", "amazon.de", *wanted).code == 2
    assert run("runs", "list", "--json").rows == []


def test_a_key_gives_one_run(run: Run, shop: Marketplace) -> None:
    """The second request names the first one's run."""
    made = create(run, "--category", "toys", "--idempotency-key", "monday")
    done = run("runs", "create", "--marketplace", "amazon.de", "--category", "toys", "--idempotency-key", "monday")
    assert (done.code, made["run_id"] in done.err) == (2, True)
    done = run("runs", "create", "--marketplace", "amazon.de", "--category", "books", "--idempotency-key", "monday")
    assert (done.code, made["run_id"] in done.err) == (2, True)
    assert len(run("runs", "list", "--json").rows) == 1


def test_an_api_key_is_not_taken_from_the_command_line(run: Run, shop: Marketplace) -> None:
    """Every user of the machine can read a process's arguments."""
    done = run("marketplaces", "set", "amazon.de", "--api-key", "secret-key")
    assert (done.code, "--key-stdin" in done.err, "secret-key" in done.err) == (2, True, False)
    assert run("marketplaces", "show", "amazon.de", "--json").rows[0]["has_key"] is True


def test_a_key_that_is_no_text_is_refused_without_showing_it(run: Run, shop: Marketplace) -> None:
    """The error has no cause, because the cause of a failed decoding holds the bytes."""
    done = run("marketplaces", "set", "amazon.de", "--key-stdin", stdin=b"secret\xff\n")
    assert (done.code, done.out, done.err) == (2, "", "error: api_key: not UTF-8\n")


def test_settings_are_the_defaults_until_they_are_set(run: Run, shop: Marketplace) -> None:
    """What is not given stays."""
    wanted = {"budget_cap_cents": 2500, "soft_warning_percent": 80, "max_concurrent_runs": 3}
    assert run("settings", "show", "--json").rows[0].items() >= wanted.items()
    run("settings", "set", "--warn-at", "50", "--max-runs", "1")
    wanted |= {"soft_warning_percent": 50, "max_concurrent_runs": 1}
    assert run("settings", "show", "--json").rows[0].items() >= wanted.items()
    for wrong in (("--cap", "-1"), ("--warn-at", "0"), ("--warn-at", "101"), ("--max-runs", "0")):
        assert run("settings", "set", *wrong).code == 2
    assert run("settings", "show", "--json").rows[0].items() >= wanted.items()


def test_explain_says_why_a_run_waits(run: Run, shop: Marketplace) -> None:
    """The third run of an organisation that may have one waits for a place."""
    run("settings", "set", "--max-runs", "1")
    create(run, "--category", "toys")
    waits = create(run, "--category", "toys")
    drain(queues=["events"])
    done = run("explain", "job", waits["run_id"])
    assert done.code == 0
    assert "place" in done.out


def test_sellers_are_merged_and_a_merge_is_undone(run: Run, shop: Marketplace, connection: Connection) -> None:
    """By the ids that `similar` and `list` show."""
    org_id = run("orgs", "list", "--json").rows[0]["id"]
    for name in ("ana store", "anna store"):
        connection.execute(
            "INSERT INTO collection.sellers (org_id, display_name, normalized_name, platform)"
            " VALUES (%s, %s, %s, 'ebay')",
            [org_id, name.title(), name],
        )
    (pair,) = run("sellers", "similar", "--json").rows
    kept, other = pair["kept"]["id"], pair["other"]["id"]
    assert run("sellers", "merge", kept, other).code == 2  # no terminal to confirm on
    (merged,) = run("sellers", "merge", kept, other, "--yes", "--reason", "one shop", "--json").rows
    assert [row["id"] for row in run("sellers", "list", "--json").rows] == [kept]
    assert run("sellers", "list", "--search", "ANA", "--json").rows[0]["id"] == kept
    assert run("sellers", "undo", merged["id"]).code == 0
    assert len(run("sellers", "list", "--json").rows) == 2
    assert run("sellers", "undo", uuid4()).code == 2
    assert len(run("sellers", "merges", "--json").rows) == 1


def test_orgs_list_their_members(run: Run, shop: Marketplace) -> None:
    """A member is shown with the role."""
    assert run("orgs", "members", "--json").rows[0].items() >= {"email": "ana@example.org", "role": "admin"}.items()
    assert run("orgs", "add-member", "nobody").code == 2
