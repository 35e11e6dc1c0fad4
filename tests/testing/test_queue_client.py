"""The queue client: it fetches rows and records the ends of deliveries as a worker does, without an event loop."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.engine.queue.publish import publish
from app.testing import worker
from app.testing.queue_client import QueueClient
from tests.helpers.support import scalar
from tests.helpers.toy import say

pytestmark = pytest.mark.usefixtures("outside")

_STATUS = "SELECT status::text FROM public.procrastinate_jobs"


def fetched(connection: Connection) -> worker.Fetched:
    """Fetch the row that waits."""
    found = worker.fetch(connection, worker.register(connection))
    assert found is not None
    return found


def test_a_row_is_fetched_once(connection: Connection) -> None:
    """Of the queues that are named, by a new worker each time."""
    publish(connection, say("a"))
    client = QueueClient(connection)
    assert client.fetch(["effects"]) is None
    assert client.fetch(None) == scalar(connection, "SELECT id FROM public.procrastinate_jobs")
    assert client.fetch(None) is None


@pytest.mark.parametrize("succeeded", [True, False])
def test_a_row_whose_events_were_not_applied_waits_again(connection: Connection, *, succeeded: bool) -> None:
    """Whether or not its delivery raised: the row ends together with its events alone."""
    publish(connection, say("a"))
    QueueClient(connection).end(fetched(connection), succeeded=succeeded)
    assert scalar(connection, _STATUS) == "todo"


def test_the_end_of_a_delivery_that_was_rescued_changes_nothing(connection: Connection) -> None:
    """Another worker has the row then."""
    publish(connection, say("a"))
    first = fetched(connection)
    worker.rescue_from(first.worker_id, connection)
    fetched(connection)
    QueueClient(connection).end(first, succeeded=False)
    assert scalar(connection, _STATUS) == "doing"
