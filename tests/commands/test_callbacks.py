"""`callbacks`: add, list and remove secrets; a secret is printed once, when it is made."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from app import standard_webhooks
from app.context import Connection
from app.logistics.callback_secrets import keys_of
from app.tenancy.store import only_workspace
from tests.commands.conftest import Run


@pytest.fixture(autouse=True)
def _workspace(run: Run) -> None:
    run("workspaces", "create", "Acme")


def test_a_rotation(run: Run, connection: Connection) -> None:
    """A new secret is printed with its path, a given one is not printed. The third is refused, with the remedy."""
    (made,) = run("callbacks", "add", "--json").rows
    workspace_id = only_workspace(connection).id
    assert made["path"] == f"/callbacks/robot/items?workspace={workspace_id}"
    given = "whsec_" + "QUJD" * 8
    (added,) = run("callbacks", "add", "--secret-stdin", "--json", stdin=f"{given}\n").rows
    assert "secret" not in added
    secrets = [SecretStr(given), SecretStr(made["secret"])]
    assert keys_of(connection, workspace_id) == [standard_webhooks.key(one) for one in secrets]
    refused = run("callbacks", "add")
    assert (refused.code, "callbacks remove" in refused.err) == (2, True)
    assert run("callbacks", "remove", made["id"]).code == 0
    listed = run("callbacks", "list", "--json")
    assert [one["id"] for one in listed.rows] == [added["id"]]
    assert "secret" not in listed.out
    assert run("callbacks", "remove", made["id"]).code == 2


def test_a_wrong_secret_is_refused_by_name(run: Run) -> None:
    """The message names the problem and has no part of the secret."""
    done = run("callbacks", "add", "--secret-stdin", stdin="whsec_" + "ab-_" * 10)
    assert (done.code, "secret: is base64url" in done.err, "ab-_" in done.err) == (2, True, False)
