"""Upgrades: data of an older version is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app.postgres.embedded import Embedded
from app.schema import migrate
from app.schema.scripts import Sources


@pytest.fixture
def addresses(server: Embedded) -> Iterator[tuple[str, str]]:
    """The URLs of an empty database of this test, of its owner and a superuser."""
    name = f"upgrade_{uuid4().hex}"
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER tallyman_owner").format(sql.Identifier(name)))
        yield make_conninfo(server.owner_url, dbname=name), make_conninfo(server.superuser_url, dbname=name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def before(name: str, directory: Path) -> Sources:
    """The migrations before a given one."""
    installed = Sources.installed()
    for file in installed.directory.glob("*.sql"):
        if file.name < name:
            shutil.copy(file, directory)
    return replace(installed, directory=directory)


def test_the_marks_of_calls_get_keys(addresses: tuple[str, str], tmp_path: Path) -> None:
    """Their event's id becomes the call key."""
    owner, superuser = addresses
    migrate.migrate(owner, before("0017", tmp_path))
    event_id = uuid4()
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (%s, 1, 0)", [event_id])
    migrate.migrate(owner)
    with psycopg.connect(superuser, autocommit=True) as connection:
        assert connection.execute("SELECT event_id, call_key FROM engine.calls").fetchall() == [(event_id, event_id)]
        forced = "SELECT relforcerowsecurity FROM pg_class WHERE oid = 'engine.calls'::regclass"
        assert connection.execute(forced).fetchone() == (True,)


def test_an_organisation_can_collect_after_the_upgrade(addresses: tuple[str, str], tmp_path: Path) -> None:
    """Organisations are kept, with the default settings and no run. A second run changes nothing."""
    owner, superuser = addresses
    (migration,) = Sources.installed().directory.glob("*_collection.sql")
    migrate.migrate(owner, before(migration.name, tmp_path))
    org_id = uuid4()
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("INSERT INTO tenancy.orgs (id, name) VALUES (%s, 'acme')", [org_id])
    migrate.migrate(owner)
    assert migrate.migrate(owner) == []
    with psycopg.connect(superuser, autocommit=True) as connection:
        settings = "INSERT INTO collection.collection_settings (org_id) VALUES (%s) RETURNING budget_cap_cents"
        assert connection.execute(settings, [org_id]).fetchone() == (2500,)
        assert connection.execute("SELECT count(*) FROM collection.collection_runs").fetchone() == (0,)
        forced = """
        SELECT count(*) FROM pg_class c WHERE c.relnamespace = 'collection'::regnamespace AND c.relkind = 'r'
           AND NOT c.relforcerowsecurity
        """
        assert connection.execute(forced).fetchone() == (0,)
