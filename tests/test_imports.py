"""Importing a module sets up nothing: no log, no connection, no process, no file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.helpers.children import finished

ROOT = Path(__file__).parent.parent

_IMPORT_ALL = """
import importlib, json, logging, signal, sys, threading

seen = []
WATCHED = {"socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove", "os.rename", "os.kill"}

def watch(event, arguments):
    if event in WATCHED:
        seen.append(f"{event} {arguments}")
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append(f"open {arguments}")

def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    structlog = sys.modules.get("structlog")
    return {
        "log handlers": len(logging.getLogger().handlers),
        "log level": logging.getLogger().level,
        "structlog": bool(structlog and structlog.is_configured()),
        "threads": threading.active_count(),
        "signals": repr(handlers),
        "wiring": bool(installed._sources),
    }

import procrastinate, psycopg, psycopg_pool  # croniter, which the first imports, asks `file` about the interpreter
for owner in (psycopg.Connection, psycopg.AsyncConnection):
    owner.connect = classmethod(lambda cls, *_a, **_k: seen.append(f"{cls.__name__}.connect"))
for owner in (psycopg_pool.ConnectionPool, psycopg_pool.AsyncConnectionPool):
    owner.open = lambda self, *_a, **_k: seen.append(f"{type(self).__name__}.open")

from app.engine import installed
before, found = state(), {}
sys.addaudithook(watch)
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
    after = state()
    changed = [f"{what}: {before[what]} -> {after[what]}" for what in after if after[what] != before[what]]
    if changed or seen:
        found[name] = [*changed, *seen]
    before = after
    seen.clear()
print(json.dumps(found))
"""


def _modules() -> list[str]:
    files = [file for top in ("app", "events") for file in sorted((ROOT / top).rglob("*.py"))]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return [*names, "cli"]


def test_importing_a_module_configures_no_log_and_opens_nothing() -> None:
    """Each module is imported by a fresh interpreter: logs, signals, threads and the wiring stay as they are."""
    done = finished(sys.executable, "-B", "-c", _IMPORT_ALL, json.dumps(_modules()))
    assert done.stderr == ""
    assert json.loads(done.stdout) == {}
