"""Find people by e-mail address or id, and create them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, LiteralString
from uuid import UUID

from psycopg import errors as pg
from psycopg.rows import scalar_row

from app.context import Connection
from app.errors import InvalidInput, NotFound, SetupError
from app.tenancy.choice import as_id

Role = Literal["member", "admin"]

_BY_EMAIL = "SELECT id FROM auth.users WHERE lower(email) = lower(%s)"
_BY_ID = "SELECT id FROM auth.users WHERE id = %s"
_CREATE = "INSERT INTO auth.users (email) VALUES (%s) RETURNING id"


@dataclass(frozen=True, slots=True)
class Member:
    """A person who belongs to an organisation or a workspace."""

    user_id: UUID
    email: str | None
    role: Role


def find_person(connection: Connection, wanted: str) -> UUID:
    """Return the id of the person with this e-mail address or id. Raises `NotFound`."""
    cursor = connection.cursor(row_factory=scalar_row)
    found = cursor.execute(_BY_EMAIL, [wanted.strip()]).fetchone()
    if found is None and (id_ := as_id(wanted)) is not None:
        found = cursor.execute(_BY_ID, [id_]).fetchone()
    if found is None:
        raise NotFound(f"user: there is no person {wanted!r}; `workspaces add-member EMAIL` creates one")
    return UUID(str(found))


def make_member(connection: Connection, join: LiteralString, tenant_id: UUID, email: str, role: Role) -> Member:
    """Run the statement `join` with tenant, person and role. Creates a person with a new e-mail address.

    Raises `InvalidInput` for a wrong address or role. Raises `SetupError` for an unknown address if people are created
    elsewhere (Supabase).
    """
    email = email.strip()
    name, _, host = email.partition("@")
    if not name or not host or not email.isprintable() or " " in email:
        raise InvalidInput(f"email: {email!r} is not an e-mail address")
    if role not in {"member", "admin"}:
        raise InvalidInput(f"role: must be member or admin, not {role!r}")
    with connection.transaction():
        user_id = _person(connection, email)
        connection.execute(join, [tenant_id, user_id, role])
    return Member(user_id, email, role)


def _person(connection: Connection, email: str) -> UUID:
    cursor = connection.cursor(row_factory=scalar_row)
    if (known := cursor.execute(_BY_EMAIL, [email]).fetchone()) is not None:
        return UUID(str(known))
    try:
        with connection.transaction():
            return UUID(str(cursor.execute(_CREATE, [email]).fetchone()))
    except (pg.InsufficientPrivilege, pg.IntegrityError) as error:
        raise SetupError(
            f"email: there is no person with the address {email}, and this database creates people elsewhere;"
            " invite the person there first"
        ) from error
