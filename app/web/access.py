"""Access: the person of a request, and a transaction under this person's row-level security."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, cast
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg_pool import ConnectionPool

from app import database
from app.context import Connection
from app.errors import Forbidden
from app.settings import settings
from app.web.limits import Rate
from app.web.problems import ProblemError
from app.web.tokens import Refused, Verifier

_BEARER = HTTPBearer(auto_error=False, bearerFormat="JWT", description="A JSON Web Token; `sub` is the user's id.")


@dataclass(frozen=True, slots=True)
class Person:
    """The authenticated person of a request. `until`: the end of the token, in seconds since the epoch."""

    user_id: UUID
    until: int

    @property
    def name(self) -> str:
        """The person as the actor of an entry of the audit log."""
        return f"user {self.user_id}"


async def person(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> Person:
    """Return the person that the bearer token names.

    Raises `ProblemError`: 401 without an accepted token, 429 beyond a limit, 503 if keys cannot be fetched.
    """
    if credentials is None:
        _count_refusal(request)
        raise ProblemError(
            401, "Authorization: send a bearer token", headers={"WWW-Authenticate": 'Bearer realm="tallyman"'}
        )
    if len(request.headers.getlist("authorization")) > 1:  # a proxy may have checked the other one
        _count_refusal(request)
        raise ProblemError(401, "Authorization: send one", headers={"WWW-Authenticate": 'Bearer realm="tallyman"'})
    verifier = cast("Verifier", request.app.state.verifier)
    try:
        token = await run_sync(verifier.verify, credentials.credentials, limiter=request.app.state.token_checks)
    except Refused as error:
        _count_refusal(request)
        challenge = f'Bearer realm="tallyman", error="invalid_token", error_description="{error}"'
        raise ProblemError(401, f"Authorization: {error}", headers={"WWW-Authenticate": challenge}) from None
    except ConnectionError as error:
        raise ProblemError(503, str(error), headers={"Retry-After": "5"}) from None
    cast("Rate", request.app.state.rate).take(str(token.user_id))
    return Person(token.user_id, token.expires_at)


def _count_refusal(request: Request) -> None:
    address = request.client.host if request.client else "unknown"
    cast("Rate", request.app.state.refusals).take(address)


def pool(request: Request) -> ConnectionPool[Connection]:
    """Return the application's pool of connections as `service_role`."""
    return cast("ConnectionPool[Connection]", request.app.state.pool)


Pool = Annotated[ConnectionPool[Connection], Depends(pool)]
"""The parameter of an endpoint that opens transactions itself."""
CurrentPerson = Annotated[Person, Depends(person)]
"""The parameter of an endpoint that needs a person."""


def operator(person: CurrentPerson) -> Person:
    """Return the person if it is one of TALLYMAN_OPERATORS. Raises `Forbidden`."""
    if str(person.user_id) not in {one.strip().lower() for one in settings().operators.split(",")}:
        raise Forbidden("only an operator (TALLYMAN_OPERATORS) may change what all tenants share")
    return person


CurrentOperator = Annotated[Person, Depends(operator)]
"""The parameter of an endpoint that changes what all tenants share."""


def _as_person(person: CurrentPerson, pool: Pool) -> Iterator[Connection]:
    with pool.connection() as connection, database.as_person(connection, person.user_id) as opened:
        yield opened


AsPerson = Annotated[Connection, Depends(_as_person, scope="function")]
"""The parameter of an endpoint that works in one transaction as the person. Committed before the response is sent."""
