"""People: found by e-mail address or id."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.context import Connection
from app.errors import NotFound
from app.tenancy.people import find_person


def test_a_person_is_found_by_address_or_id(connection: Connection) -> None:
    """The address is compared without case. An unknown person is an error that names the remedy."""
    row = connection.execute("INSERT INTO auth.users (email) VALUES ('ana@example.org') RETURNING id").fetchone()
    assert row is not None
    assert find_person(connection, "Ana@Example.org") == find_person(connection, str(row[0])) == row[0]
    for unknown in ("eva@example.org", str(uuid4())):
        with pytest.raises(NotFound, match="user: there is no person"):
            find_person(connection, unknown)
