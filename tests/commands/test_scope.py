"""The actor of a command, for the audit log."""

from __future__ import annotations

import os
import pwd
import shutil
import sys

import pytest

from app.commands.scope import login
from app.context import Connection
from app.engine.audit_log import history
from tests.commands.conftest import Run
from tests.helpers.children import CLI, finished

_BARE = ("unshare", "--user", "--map-user=12345", "env", "-i")
"""Under a user id without an account, and without an environment: as in many containers."""


@pytest.fixture(scope="module")
def bare() -> tuple[str, ...]:
    """The start of a command under a user id without an account."""
    if shutil.which("unshare") is None or finished(*_BARE, sys.executable, "-c", "").returncode:
        pytest.skip("this machine has no user namespaces")
    return _BARE


def test_the_actor_is_the_account_and_not_a_variable(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`$USER` may be another person's."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    run("queues", "pause", "robots", "--reason", "x")
    assert [one.actor for one in history(connection)] == [pwd.getpwuid(os.getuid()).pw_name]


def test_a_user_id_without_an_account_is_the_actor() -> None:
    """As a number."""
    free = next(uid for uid in range(4_000_000, 5_000_000) if uid not in {one.pw_uid for one in pwd.getpwall()})
    assert login(free) == f"uid {free}"


def test_a_container_with_a_bare_user_id_has_an_actor(bare: tuple[str, ...]) -> None:
    """Without account, home directory and environment."""
    done = finished(*bare, sys.executable, "-c", "from app.commands.scope import login; print(login())")
    assert (done.stdout, done.stderr) == ("uid 12345\n", "")


def test_a_missing_home_directory_is_an_error(bare: tuple[str, ...]) -> None:
    """Only for the embedded server: the error names the variables, exit code 1."""
    done = finished(*bare, *CLI, "db", "status")
    assert done.returncode == 1
    assert "no home directory: set TALLYMAN_HOME" in done.stderr
    assert "bug" not in done.stderr
    elsewhere = finished(*bare, "DATABASE_URL=postgresql://127.0.0.1:1/x", *CLI, "db", "status")
    assert "home directory" not in elsewhere.stderr
