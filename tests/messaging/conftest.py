"""Messages in the test database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app import database as doors
from app.context import Connection
from app.messaging.fixtures.chat import Chat
from tests.conftest import Database


@pytest.fixture
def chat(connection: Connection) -> Chat:
    """Messages over a connection in autocommit mode."""
    return Chat(connection)


@pytest.fixture
def watcher(database: Database) -> Iterator[Connection]:
    """Another connection, which sees who waits for a lock."""
    with doors.connect(autocommit=True) as connection:
        yield connection
