"""A run without violations, and a connection that may tamper with its data."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from app.chaos import observer
from app.chaos.model import Model, Submission
from app.context import Connection
from app.logistics.jobs import create_robot_job
from app.logistics.store import ROBOT_JOBS
from app.simulators.portal import Portal
from tests.conftest import Database
from tests.helpers.factories import Workspace
from tests.helpers.shops import equip
from tests.helpers.support import drain

KEY = "monday"
ORDERS = 5


@pytest.fixture
def model(database: Database, connection: Connection, workspace: Workspace, portal: Portal) -> Iterator[Model]:
    """One job that was submitted and completed, as its producer knows it."""
    observer.install(database.superuser_url)
    observer.observe(database.superuser_url, ROBOT_JOBS)
    try:
        shop = equip(connection, workspace.id, portal)
        order_ids = shop.order(ORDERS)
        references = connection.execute("SELECT reference FROM logistics.orders").fetchall()
        submission = Submission(workspace.id, KEY, frozenset(reference for (reference,) in references))
        job = create_robot_job(shop.context, order_ids, idempotency_key=KEY)
        drain()
        known = Model()
        known.accept(submission, job.id)
        yield known
    finally:
        observer.remove(database.superuser_url)


@pytest.fixture
def overlooking(database: Database, model: Model) -> Iterator[Connection]:
    """A connection without row policies."""
    with psycopg.connect(database.superuser_url, autocommit=True) as opened:
        yield opened
