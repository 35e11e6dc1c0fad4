"""Fixtures of all tests: those of the plugin, and a workspace."""

from __future__ import annotations

import gc
import os
from functools import cache
from typing import Any

import pytest
import typer.testing
from typer.main import get_command

from app.context import Connection, Context
from app.testing.database import Database

__all__ = ["Database"]

pytest_plugins = ["app.testing.plugin", "pytester"]


def pytest_configure() -> None:
    """Let Typer's runner build the commands of an app once. It would build all of them at each call, in 0.1 s."""
    vars(typer.testing)["_get_command"] = cache(get_command)  # there is no public way


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of garbage collections: it stays, and each full one would visit it."""
    gc.collect()
    gc.freeze()


LONG = (
    "bench/test_bench.py",
    "chaos/test_chaos.py",
    "engine/batches/test_crashes.py",
    "faults/test_seeded_bugs.py",
    "faults/test_state_machine.py",
    "logistics/test_bad_morning.py",
    "testing/test_engine.py",
    "testing/test_program.py",
    "testing/test_seeded.py",
)
"""Files with tests of more than ten seconds. They begin first, so that the processes of a run end together."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put a share of the long tests at the head of what each process is given: an equal part of the list."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.nodeid.split("::")[0].endswith(LONG)]
    others = [item for item in items if not item.nodeid.split("::")[0].endswith(LONG)]
    total = len(items)
    ordered: list[pytest.Item] = []
    for n in range(processes):
        mine = long[n::processes]
        part = (total - len(ordered)) // (processes - n)
        ordered += mine + others[: part - len(mine)]
        del others[: part - len(mine)]
    items[:] = ordered


@pytest.fixture
def workspace(connection: Connection) -> Any:
    """A workspace with its own organisation."""
    from tests.helpers.factories import make_workspace  # noqa: PLC0415 - the factories import what the fixtures set up

    return make_workspace(connection)


@pytest.fixture
def context(connection: Connection, workspace: Any) -> Context:
    """A context of `workspace`."""
    return Context.start(connection, workspace.id)
