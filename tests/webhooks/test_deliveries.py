"""Lists of a tenant's deliveries."""

from __future__ import annotations

import pytest

from app import database as doors
from app.context import Connection, Context
from app.engine.queue.publish import publish
from app.errors import InvalidInput, NotFound
from app.testing.deliver import deliver
from app.webhooks.deliveries import list_deliveries, show_delivery
from app.webhooks.fixtures.hooked import Hooked
from events import new_id
from tests.helpers.factories import Workspace, make_member


def test_deliveries_are_listed_newest_first(hooked: Hooked) -> None:
    """By endpoint and status, page by page."""
    good, bad = hooked.add("/good"), hooked.add("/bad", then="answer")
    for _ in range(3):
        publish(hooked.connection, hooked.event())
        deliver(hooked.connection)
    context = hooked.context
    everything = list_deliveries(context)
    assert [one.created_at for one in everything] == sorted((one.created_at for one in everything), reverse=True)
    assert {one.endpoint_id for one in list_deliveries(context, status="delivered")} == {good.id}
    assert {one.status for one in list_deliveries(context, endpoint_id=bad.id)} == {"pending"}
    first = list_deliveries(context, limit=4)
    rest = list_deliveries(context, limit=4, before=first[-1].id)
    assert [*first, *rest] == everything
    assert len(everything) == 6


def test_a_delivery_is_shown_with_its_body(hooked: Hooked) -> None:
    """The one that is sent. Of another tenant it does not exist."""
    hooked.add()
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)
    (listed,), (got,) = hooked.deliveries(), hooked.receiver.received
    assert show_delivery(hooked.context, listed.id).body == got.body
    with pytest.raises(NotFound, match=f"no delivery {listed.id}"):
        show_delivery(Context.start(hooked.connection, new_id()), listed.id)


def test_an_unknown_status_is_refused(hooked: Hooked) -> None:
    """The error lists them."""
    with pytest.raises(InvalidInput, match="status: must be pending, delivered, dead, discarded, not 'lost'"):
        list_deliveries(hooked.context, status="lost")


def test_a_member_reads_deliveries(connection: Connection, workspace: Workspace, hooked: Hooked) -> None:
    """Of the own workspace only."""
    hooked.add()
    publish(connection, hooked.event())
    deliver(connection)
    (own,) = hooked.deliveries()
    outsider = make_member(connection, workspace)
    connection.execute("INSERT INTO tenancy.workspace_members VALUES (%s, %s)", [hooked.tenant_id, outsider])
    with doors.as_person(connection, outsider) as acting:
        assert list_deliveries(Context.start(acting, hooked.tenant_id)) == [own]
    with doors.as_person(connection, make_member(connection, workspace)) as acting:
        assert list_deliveries(Context.start(acting, hooked.tenant_id)) == []
