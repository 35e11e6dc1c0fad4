"""`workspaces` and `tokens`, and how commands select a workspace."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.settings import settings
from app.web.tokens import Verifier
from tests.commands.conftest import Run


def test_a_workspace_is_created_and_listed(run: Run) -> None:
    """`create` prints the same row as `list`."""
    (made,) = run("workspaces", "create", "Acme", "--org", "Holding", "--timezone", "Europe/Madrid", "--json").rows
    assert (made["name"], made["org_name"], made["timezone"]) == ("Acme", "Holding", "Europe/Madrid")
    run("workspaces", "create", "Stock", "--org-id", made["org_id"])
    assert [row["name"] for row in run("workspaces", "list", "--json").rows] == ["Acme", "Stock"]
    assert run("workspaces", "list").out.splitlines()[1].split("\t")[:2] == [made["id"], "Acme"]


def test_bad_input_is_reported_in_one_line(run: Run) -> None:
    """Exit code 2, and nothing on stdout."""
    for arguments, words in (
        (("Acme", "--timezone", "Mars/Olympus"), "timezone: 'Mars/Olympus' is unknown"),
        (("Acme", "--org-id", uuid4()), "there is no organisation"),
    ):
        done = run("workspaces", "create", *arguments)
        assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
        assert words in done.err


def test_the_workspace_is_named_in_one_of_three_ways(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By option, by environment, or by default if there is only one."""
    assert "workspaces create NAME" in run("orders", "list").err
    run("workspaces", "create", "Acme")
    assert run("orders", "list").code == 0
    (other,) = run("workspaces", "create", "Zeta", "--json").rows
    assert "choose one with --workspace: Acme, Zeta" in run("orders", "list").err
    assert run("orders", "list", "-w", other["id"]).code == 0
    monkeypatch.setenv("TALLYMAN_WORKSPACE", "Zeta")
    assert run("orders", "list").code == 0
    done = run("orders", "list", "--workspace", "Nobody")
    assert (done.code, "'Nobody'" in done.err) == (2, True)


def test_a_member_of_a_workspace_gets_a_token(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tokens issue` names the person by e-mail address, and refuses an unknown one."""
    monkeypatch.setenv("TALLYMAN_TOKEN_SECRET", "s" * 32)
    settings.cache_clear()
    run("workspaces", "create", "Acme")
    (added,) = run("workspaces", "add-member", "ana@example.org", "--role", "admin", "--json").rows
    assert run("workspaces", "members", "--json").rows == [added]
    token = run("tokens", "issue", "--user", "ana@example.org").out.strip()
    assert str(Verifier.of(settings()).verify(token).user_id) == added["user_id"]
    assert run("tokens", "issue", "--user", "eva@example.org").code == 2
