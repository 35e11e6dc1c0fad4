"""Endpoints of a tenant: registered by admins, read by members, seen by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from psycopg import errors as pg

from app import database as doors
from app import standard_webhooks
from app.context import Connection, Context
from app.errors import Conflict, InvalidInput, NotFound
from app.webhooks import endpoints, keys, rules
from app.webhooks.endpoints import AddedEndpoint
from app.webhooks.fixtures.hooked import Hooked
from events import new_id
from tests.helpers.factories import Workspace, make_member, make_user

URL = "https://example.org/hooks"


def add(context: Context, url: str = URL, **values: object) -> AddedEndpoint:
    """Add an endpoint of a workspace."""
    return endpoints.add_endpoint(context, "workspace", url, ["robot.job.completed"], actor="ana", **values)  # type: ignore[arg-type]


@contextmanager
def person(connection: Connection, user_id: UUID, tenant_id: UUID) -> Iterator[Context]:
    """Yield a context of a tenant as `authenticated`."""
    with doors.as_person(connection, user_id) as acting:
        yield Context.start(acting, tenant_id)


def test_an_endpoint_is_added_enabled(context: Context) -> None:
    """With its secret, once. It is listed without it."""
    added = add(context, description="our shop", max_calls=2)
    found = added.endpoint
    assert (found.url, found.event_types, found.is_enabled) == (URL, ["robot.job.completed"], True)
    assert (found.description, found.max_calls, found.created_by) == ("our shop", 2, "ana")
    assert endpoints.list_endpoints(context) == [endpoints.show_endpoint(context, found.id)] == [found]
    assert added.secret.get_secret_value() not in repr(added)
    assert added.secret.get_secret_value() not in str(context.connection.execute("TABLE webhooks.secrets").fetchall())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"description": "x" * 201}, "description: must be at most 200"),
        ({"description": "\x1b[31m"}, "description: must be at most 200 printable"),
        ({"max_calls": 0}, "max_calls: must be 1 to 20"),
        ({"max_calls": 21}, "max_calls: must be 1 to 20"),
        ({"url": "ftp://example.org"}, "url: "),
    ],
)
def test_a_wrong_value_is_named(context: Context, values: dict[str, object], message: str) -> None:
    """Nothing is added."""
    with pytest.raises(InvalidInput, match=message):
        add(context, **values)  # type: ignore[arg-type]
    assert endpoints.list_endpoints(context) == []


def test_a_tenant_has_a_limit_of_endpoints(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event is sent to all of them."""
    monkeypatch.setattr(rules, "MOST_ENDPOINTS", 1)
    add(context)
    with pytest.raises(Conflict, match="the most that are allowed"):
        add(context)


def test_an_endpoint_is_disabled_and_enabled(context: Context) -> None:
    """By name, repeatedly. Enabling forgets the failures."""
    endpoint = add(context).endpoint
    context.connection.execute("UPDATE webhooks.endpoints SET failing_since = now()")
    for _ in range(2):
        done = endpoints.disable_endpoint(context, endpoint.id, actor="eva")
        assert (done.is_enabled, done.disabled_reason, done.changed_by) == (False, "user", "eva")
    done = endpoints.enable_endpoint(context, endpoint.id, actor="leo")
    assert (done.is_enabled, done.disabled_reason, done.failing_since, done.changed_by) == (True, None, None, "leo")


def test_another_tenants_endpoint_does_not_exist(context: Context) -> None:
    """For every function."""
    endpoint = add(context).endpoint
    other = Context.start(context.connection, new_id())
    for call in (
        lambda: endpoints.show_endpoint(other, endpoint.id),
        lambda: endpoints.enable_endpoint(other, endpoint.id, actor="ana"),
        lambda: endpoints.disable_endpoint(other, endpoint.id, actor="ana"),
        lambda: keys.rotate(other, endpoint.id, actor="ana"),
    ):
        with pytest.raises(NotFound, match=f"no endpoint {endpoint.id}"):
            call()
    assert endpoints.list_endpoints(other) == []


def test_an_admin_of_the_workspace_manages_endpoints(connection: Connection, workspace: Workspace) -> None:
    """As `authenticated`, and reads no secret."""
    admin = make_member(connection, workspace, "admin")
    with person(connection, admin, workspace.id) as context:
        added = add(context)
        rotated = keys.rotate(context, added.endpoint.id, actor="admin")
        assert not endpoints.disable_endpoint(context, added.endpoint.id, actor="admin").is_enabled
        assert endpoints.enable_endpoint(context, added.endpoint.id, actor="admin").is_enabled
    sealed = keys.active(connection, workspace.id, added.endpoint.id)
    keys_of_both = [standard_webhooks.key(one) for one in (rotated.secret, added.secret)]
    assert [keys.unseal(one) for one in sealed] == keys_of_both
    with pytest.raises(pg.InsufficientPrivilege), person(connection, admin, workspace.id) as context:
        context.connection.execute("SELECT sealed FROM webhooks.secrets")


def test_a_member_reads_endpoints_only(connection: Connection, workspace: Workspace) -> None:
    """A change is refused, and somebody else sees none."""
    member = make_member(connection, workspace)
    endpoint = add(Context.start(connection, workspace.id)).endpoint
    with person(connection, member, workspace.id) as context:
        assert endpoints.list_endpoints(context) == [endpoint]
    with pytest.raises(pg.InsufficientPrivilege), person(connection, member, workspace.id) as context:
        add(context)
    for change in (endpoints.disable_endpoint, endpoints.enable_endpoint, keys.rotate):
        with pytest.raises(NotFound), person(connection, member, workspace.id) as context:
            change(context, endpoint.id, actor="member")
    with person(connection, make_user(connection), workspace.id) as context:
        assert endpoints.list_endpoints(context) == []


def test_an_organisation_has_endpoints_for_its_runs(hooked_org: Hooked) -> None:
    """Its members see them, and members of its workspaces do not."""
    endpoint = hooked_org.add()
    assert list(endpoint.event_types) == [
        "collection.budget.warned",
        "collection.job.completed",
        "collection.run.paused",
    ]
    assert hooked_org.endpoint(endpoint) == endpoint
