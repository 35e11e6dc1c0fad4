"""The sessions that hold a lock on a row."""

from __future__ import annotations

import psycopg

from app import database as doors
from app.context import Connection
from app.engine.delivery.locked import LockTarget
from app.engine.inspect.holders import holders
from tests.conftest import Database
from tests.helpers.factories import Workspace, make_workspace

_LOCK = "SELECT FROM tenancy.workspaces WHERE id = %s FOR UPDATE"


def test_the_session_that_locked_a_row_is_found(
    database: Database, connection: Connection, workspace: Workspace
) -> None:
    """With its login, application, state and the start of its transaction. A free row has no holder."""
    target = LockTarget("tenancy.workspaces", workspace.id)
    with connection.transaction():
        assert holders(connection, target) == []
    with psycopg.connect(doors.conninfo(database.url), application_name="editor") as other:
        other.execute("SET application_name = 'editor'")
        other.execute(_LOCK, [workspace.id])
        started = other.execute("SELECT now()").fetchone()
        with connection.transaction():
            (found,) = holders(connection, target)
            assert holders(connection, LockTarget("tenancy.workspaces", make_workspace(connection).id)) == []
        assert (found.pid, found.login, found.application) == (other.info.backend_pid, "tallyman", "editor")
        assert (found.state, (found.since,)) == ("idle in transaction", started)


def test_every_holder_of_a_shared_lock_is_found(
    database: Database, connection: Connection, workspace: Workspace
) -> None:
    """Ordered by pid."""
    shared = _LOCK.replace("UPDATE", "SHARE")
    with psycopg.connect(database.url) as one, psycopg.connect(database.url) as two:
        for session in (one, two):
            session.execute("SET ROLE service_role")
            session.execute(shared, [workspace.id])
        with connection.transaction():
            found = holders(connection, LockTarget("tenancy.workspaces", workspace.id))
        assert [session.pid for session in found] == sorted([one.info.backend_pid, two.info.backend_pid])


def test_of_another_login_only_its_pid_and_name_are_shown(
    database: Database, connection: Connection, workspace: Workspace
) -> None:
    """PostgreSQL hides the rest."""
    with psycopg.connect(database.superuser_url) as other:
        other.execute(_LOCK, [workspace.id])
        with connection.transaction():
            (found,) = holders(connection, LockTarget("tenancy.workspaces", workspace.id))
        assert (found.pid, found.login, found.state, found.since) == (other.info.backend_pid, "postgres", None, None)
