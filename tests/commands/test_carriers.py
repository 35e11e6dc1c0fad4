"""`carriers`: set, show and enable an account; its password is never shown."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from app.context import Connection
from app.logistics.carriers import portal_configs, unsealed
from app.tenancy.store import only_workspace
from tests.commands.conftest import Run

PASSWORD = "pa55 wörd"
URL = "https://portal.example.org"


@pytest.fixture(autouse=True)
def _workspace(run: Run) -> None:
    run("workspaces", "create", "Acme")


def stored(connection: Connection) -> SecretStr:
    """Return the password that the robot would use."""
    key = (only_workspace(connection).id, "dhl")
    return unsealed(portal_configs(connection, [key])[key]).password


def test_an_account_is_set_shown_and_enabled(run: Run) -> None:
    """Each command prints the account. The list leaves out fields for programs."""
    (made,) = run(
        "carriers", "set", "dhl", "--username", "bot", "--password-stdin", "--json", stdin=f"{PASSWORD}\nmore\n"
    ).rows
    assert (made["has_password"], made["is_enabled"], made["max_sessions"]) == (True, False, 4)
    done = run("carriers", "enable", "dhl")
    assert (done.code, "dhl has no portal_url" in done.err) == (2, True)
    assert run("carriers", "set", "dhl", "--portal-url", URL, "--max-sessions", 2, "--enable", "--json").rows[0][
        "is_enabled"
    ]
    assert not run("carriers", "disable", "dhl", "--json").rows[0]["is_enabled"]
    assert run("carriers", "enable", "DHL", "--json").rows == run("carriers", "show", "dhl", "--json").rows
    assert run("carriers", "list").out.splitlines()[1].split("\t") == ["dhl", "bot", "true", URL, "2", "true"]


def test_a_password_comes_from_stdin_or_the_environment(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not in any output."""
    done = run("carriers", "set", "dhl", "--username", "bot", "--password-stdin", stdin=PASSWORD)
    assert stored(connection) == SecretStr(PASSWORD)
    monkeypatch.setenv("TALLYMAN_PORTAL_PASSWORD", "another")
    again = run("carriers", "set", "dhl", "--username", "bot", "--json")
    assert stored(connection) == SecretStr("another")
    printed = done.out + done.err + again.out + again.err
    assert not [word for word in (PASSWORD, "another", "sealed:") if word in printed]


def test_a_password_is_not_taken_from_the_environment_unasked(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only together with a username."""
    run("carriers", "set", "dhl", "--username", "bot", "--password-stdin", stdin=PASSWORD)
    monkeypatch.setenv("TALLYMAN_PORTAL_PASSWORD", "another")
    run("carriers", "set", "dhl", "--portal-url", URL)
    assert stored(connection) == SecretStr(PASSWORD)


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["--username", "bot"], None, "no terminal for a prompt; use --password-stdin or TALLYMAN_PORTAL_PASSWORD"),
        (["--username", "bot", "--portal-password", "pa55"], None, "password: not accepted as an argument"),
        (["--username", "bot", "--password-stdin"], "", "password: must not be empty"),
        (["--username", "bot", "--password-stdin"], b"pa55\xff\n", "password: not UTF-8"),
        (["--portal-url", "portal"], None, "portal_url: must be like https://"),
        (["--max-sessions", "101"], None, "max_sessions: must be 1 to 100, not 101"),
    ],
)
def test_bad_input_is_reported_without_the_password(
    run: Run, arguments: list[str], stdin: str | bytes | None, words: str
) -> None:
    """In one line with exit code 2, and nothing is stored."""
    done = run("carriers", "set", "dhl", *arguments, stdin=stdin)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert words in done.err
    assert "pa55" not in done.err
    assert run("carriers", "list", "--json").rows == []


def test_an_unknown_carrier_names_the_known_ones(run: Run) -> None:
    """With --json as an object."""
    run("carriers", "set", "dhl")
    done = run("carriers", "show", "fedex", "--json")
    assert (done.code, done.out) == (2, "")
    assert '"error": "NotFound"' in done.err
    assert "set up: dhl" in done.err
