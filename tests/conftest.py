"""What the tests share: the fixtures of the plugin that ships with the program, and a workspace."""

from __future__ import annotations

from typing import Any

import pytest

from app.context import Connection, Context
from app.testing.database import Database

__all__ = ["Database"]

pytest_plugins = ["app.testing.plugin", "pytester"]


@pytest.fixture
def workspace(connection: Connection) -> Any:
    """A workspace of an organisation of its own."""
    from tests.helpers.factories import make_workspace  # noqa: PLC0415 - the factories import what the fixtures set up

    return make_workspace(connection)


@pytest.fixture
def context(connection: Connection, workspace: Any) -> Context:
    """A context on behalf of `workspace`."""
    return Context.start(connection, workspace.id)
