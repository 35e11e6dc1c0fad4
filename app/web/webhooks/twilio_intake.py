"""What the webhook of Twilio asks of the database: who signs for an endpoint, and to keep messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg
import structlog
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
from starlette.concurrency import run_in_threadpool

from app import database
from app.context import Connection, HandlerContext
from app.errors import SetupError, Transient
from app.messaging.endpoints import signer_of
from app.messaging.intake import bury, receive
from app.messaging.together import receive_together
from app.messaging.twilio_form import Incoming, incoming
from app.settings import settings
from app.web.problems import ProblemError
from app.web.webhooks.fields import Fields, Refused
from app.web.webhooks.gathering import Gathering
from app.web.webhooks.twilio_signature import Account, Posted, verify

log = structlog.get_logger(__name__)

_MOST_ACCOUNTS = 1_000
_TRIES = 3
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed, Transient, SetupError)
"""Errors of a database that is away or busy. The message itself can be right."""
_IN_THE_WAY = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
_ALONE = (*_IN_THE_WAY, psycopg.errors.LockNotAvailable)
"""Errors of one message of many: each may succeed by itself."""

T = TypeVar("T")


class Intake:
    """Verifies messages and keeps them. Used in one event loop; the database is used in threads."""

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self._accounts: dict[str, tuple[Account, float]] = {}
        self._gathering = Gathering[Incoming](self._receive_all, self._receive, _is_away)

    async def verify(self, posted: Posted, endpoint_token: str) -> Fields:
        """Return the fields of a request that Twilio sent to the endpoint. Raises `Refused`, `Ambiguous`.

        A request is refused by accounts that were read after it came: it may be signed with a new auth token.
        """
        account, read_at = self._accounts.get(endpoint_token, (None, 0.0))
        if account is not None and time.monotonic() - read_at < settings().webhook_freshness:
            try:
                return verify(posted, account)
            except Refused:
                pass
        return verify(posted, await self._account(endpoint_token))

    async def take(self, fields: Fields) -> None:
        """Make a message a job, or a dead letter if that fails. Returns after the commit.

        Raises the error of a database that is away, and `ProblemError` (503) if there is neither job nor letter.
        """
        try:
            await self._gathering.take(incoming(pairs(fields)))
        except _AWAY:
            raise
        except Exception as error:
            log.exception("a message could not be made a job")
            await self.keep(fields, error)

    async def keep(self, fields: Fields, why: Exception) -> None:
        """Make a message a dead letter. Raises `ProblemError` (503) if that fails."""
        try:
            await run_in_threadpool(self._bury, fields, why)
        except Exception as error:
            log.exception("a message could not be kept")
            raise ProblemError(503, "the message could not be stored; send it again") from error

    async def _account(self, endpoint_token: str) -> Account:
        """Read the account of an endpoint. An unknown endpoint has one that signs nothing."""
        now = time.monotonic()
        signer = await run_in_threadpool(self._within, lambda context: signer_of(context.connection, endpoint_token))
        if signer is None:
            self._accounts.pop(endpoint_token, None)
            return Account("", ())
        if len(self._accounts) >= _MOST_ACCOUNTS:
            self._accounts.clear()
        account = Account(signer.account_sid, signer.auth_tokens)
        self._accounts[endpoint_token] = (account, now)
        return account

    def _receive_all(self, messages: Sequence[Incoming]) -> None:
        self._within(lambda context: receive_together(context, messages))

    def _receive(self, message: Incoming) -> None:
        _again(lambda: self._within(lambda context: receive(context, message)))

    def _bury(self, fields: Fields, why: Exception) -> None:
        _again(lambda: self._within(lambda context: bury(context, pairs(fields), why)))

    def _within(self, work: Callable[[HandlerContext], T]) -> T:
        """Run `work` in one transaction, committed when this returns."""
        patience = settings().webhook_patience
        with self._pool.connection(timeout=patience) as connection, database.as_service(connection):
            return work(HandlerContext.begin(connection))


def pairs(fields: Fields) -> list[tuple[str, str]]:
    """Return names and values of fields, repeated fields more than once."""
    return [(name, value) for name, values in fields.items() for value in values]


def _is_away(error: Exception) -> bool:
    return isinstance(error, _AWAY) and not isinstance(error, _ALONE)


def _again(work: Callable[[], T]) -> T:
    """Run a transaction. Repeat it at once if another one was in its way: Twilio may not repeat the request."""
    for _ in range(_TRIES - 1):
        try:
            return work()
        except _IN_THE_WAY:
            log.info("repeats a transaction")
    return work()
