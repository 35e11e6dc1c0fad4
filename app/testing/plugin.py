"""The pytest plugin: `pytest_plugins = ["app.testing.plugin"]` in your top conftest.

server               a PostgreSQL server, for the session
migrated             a database on it with the program's schema, for the session
cleaner              empties that database
database             the same, set in the environment of the program under test, emptied after the test
connection           a connection to it as service_role, in autocommit mode
portal_server        a carrier's simulated portal, for the session
portal               the same, without records and faults
marketplace_server   a simulated marketplace, for the session
marketplace          the same, with an empty ledger and without faults
receiver_server      a simulated receiver of webhooks, for the session
receiver             the same, with an empty record and without secrets
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import database as doors
from app import logs
from app.context import Connection
from app.postgres import embedded
from app.postgres.embedded import Embedded
from app.settings import settings
from app.simulators import marketplace as markets
from app.simulators import receiver as receivers
from app.simulators.portal import Behaviour, Portal, serve
from app.startup import install_wiring
from app.testing.cleaner import Cleaner
from app.testing.database import Database, create


def pytest_configure() -> None:
    """Configure logging and install the program's wiring, as every entry point does."""
    os.environ.setdefault("TALLYMAN_LOG_LEVEL", "WARNING")
    logs.configure()
    install_wiring()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A separate PostgreSQL server for the session. Stopped at its end."""
    home = tmp_path_factory.mktemp("home")
    running = embedded.ensure_running(home)
    try:
        yield running
    finally:
        embedded.stop(home)


@pytest.fixture(scope="session")
def migrated(server: Embedded) -> Database:
    """The session's database, migrated and empty."""
    return create(server)


@pytest.fixture(scope="session")
def cleaner(migrated: Database) -> Iterator[Cleaner]:
    """Empties the session's database."""
    made = Cleaner(migrated.superuser_url)
    yield made
    made.close()


@pytest.fixture
def database(
    migrated: Database, cleaner: Cleaner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Database]:
    """The database, set in the environment of the program under test. Empty at the start of each test."""
    for name, value in migrated.environment(str(tmp_path)).items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield migrated
    settings.cache_clear()
    cleaner.empty()


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A connection as service_role in autocommit mode. Open a transaction if the code under test expects one."""
    with doors.connect(database.url, autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def portal_server() -> Iterator[Portal]:
    """One simulated portal for the session."""
    with serve() as portal:
        yield portal


@pytest.fixture
def portal(portal_server: Portal) -> Portal:
    """The simulated portal, without records and faults."""
    portal_server.start_over(Behaviour())
    return portal_server


@pytest.fixture(scope="session")
def marketplace_server() -> Iterator[markets.Marketplace]:
    """One simulated marketplace for the session."""
    with markets.serve() as marketplace:
        yield marketplace


@pytest.fixture
def marketplace(marketplace_server: markets.Marketplace) -> markets.Marketplace:
    """The simulated marketplace, with an empty ledger and without faults."""
    marketplace_server.start_over()
    return marketplace_server


@pytest.fixture(scope="session")
def receiver_server() -> Iterator[receivers.Receiver]:
    """One simulated receiver of webhooks for the session."""
    with receivers.serve() as receiver:
        yield receiver


@pytest.fixture
def receiver(receiver_server: receivers.Receiver) -> receivers.Receiver:
    """The simulated receiver of webhooks, with an empty record and without secrets."""
    receiver_server.start_over()
    return receiver_server
