"""Fixtures of all tests: those of the plugin, and a workspace."""

from __future__ import annotations

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


@pytest.fixture
def workspace(connection: Connection) -> Any:
    """A workspace with its own organisation."""
    from tests.helpers.factories import make_workspace  # noqa: PLC0415 - the factories import what the fixtures set up

    return make_workspace(connection)


@pytest.fixture
def context(connection: Connection, workspace: Any) -> Context:
    """A context of `workspace`."""
    return Context.start(connection, workspace.id)
