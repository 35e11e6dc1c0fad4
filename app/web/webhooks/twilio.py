"""Messages that Twilio posts. A verified message is answered with 200 once it is durable, and never before.

Twilio repeats no request that was answered with 4xx or 5xx unless its URL asks for it: docs/messaging.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg
import structlog
from fastapi import APIRouter, Request, Response
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from app import database
from app.context import Connection, HandlerContext
from app.errors import SetupError, Transient
from app.messaging.endpoints import signer_of
from app.messaging.intake import bury, receive
from app.messaging.twilio_form import incoming
from app.settings import settings
from app.web.access import Pool
from app.web.body import RawBody
from app.web.problems import Problem, ProblemError
from app.web.webhooks.fields import Ambiguous, Fields, Refused
from app.web.webhooks.twilio_signature import Account, Posted, verify

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
"""The answer that makes Twilio do nothing more."""
_TRIES = 3
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed, Transient, SetupError)
"""Errors of a database that is away or busy. The message itself can be right."""
_BUSY = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)

T = TypeVar("T")


class TwiML(Response):
    """An answer in Twilio's XML."""

    media_type = "text/xml"


@router.post(
    "/twilio/{endpoint_token}",
    response_class=TwiML,
    summary="Take a message from Twilio",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
        },
        "parameters": [
            {
                "in": "header",
                "name": "X-Twilio-Signature",
                "required": True,
                "schema": {"type": "string"},
                "description": "Twilio's signature over the URL and the fields.",
            }
        ],
    },
    responses={
        403: {"model": Problem, "description": "Twilio has not sent this request for this endpoint."},
        503: {"model": Problem, "description": "The message could not be stored; send it again."},
    },
)
def take_message(endpoint_token: str, request: Request, body: RawBody, pool: Pool) -> Response:
    """Make a message a job, once, however often it is posted.

    A verified message that cannot be made a job becomes a dead letter, and the answer is 200, too.
    """
    posted = _posted(request, body)
    try:
        fields = verify(posted, _account(pool, endpoint_token))
    except Refused as error:
        log.warning("refused a webhook request", reason=str(error))
        if isinstance(error, Ambiguous):
            _bury(pool, error.fields, error)
        raise ProblemError(403, "Twilio has not sent this request for this endpoint") from None
    try:
        _again(lambda: _receive(pool, fields))
    except _AWAY:
        raise
    except Exception as error:
        log.exception("a message could not be made a job")
        _bury(pool, fields, error)
    return TwiML(TWIML)


def _posted(request: Request, body: bytes) -> Posted:
    path, query = request.scope["raw_path"], request.scope["query_string"]
    target = path + (b"?" + query if query else b"")
    return Posted(
        # Not `request.url`: its path is decoded, and behind a proxy it is not the URL that Twilio called.
        url=_public_url() + target.decode("latin-1"),
        content_type=request.headers.get("content-type"),
        body=body,
        signature=request.headers.get("x-twilio-signature"),
        signature_settings=request.headers.get("x-twilio-webhooks-signature-settings"),
    )


def _public_url() -> str:
    url = settings().public_url
    if url is None:
        raise SetupError("TALLYMAN_PUBLIC_URL is not set: Twilio signs the URL that it calls")
    return url.rstrip("/")


def _account(pool: ConnectionPool[Connection], endpoint_token: str) -> Account:
    """Return the account of an endpoint. An unknown endpoint has one that signs nothing."""
    signer = _within(pool, lambda context: signer_of(context.connection, endpoint_token))
    return Account(signer.account_sid, signer.auth_tokens) if signer else Account("", ())


def _receive(pool: ConnectionPool[Connection], fields: Fields) -> None:
    received = _within(pool, lambda context: receive(context, incoming(_pairs(fields))))
    log.info("message", job_id=str(received.job_id), created=received.created)


def _bury(pool: ConnectionPool[Connection], fields: Fields, why: Exception) -> None:
    """Keep a message as a dead letter. Raises `ProblemError` with 503 if that fails: then the message is nowhere."""
    try:
        _again(lambda: _within(pool, lambda context: bury(context, _pairs(fields), why)))
    except Exception as error:
        log.exception("a message could not be kept")
        raise ProblemError(503, "the message could not be stored; send it again") from error


def _again(work: Callable[[], T]) -> T:
    """Run a transaction. Repeat it at once if another one was in its way: Twilio may not do so."""
    for _ in range(_TRIES - 1):
        try:
            return work()
        except _BUSY:
            log.info("repeats a transaction")
    return work()


def _within(pool: ConnectionPool[Connection], work: Callable[[HandlerContext], T]) -> T:
    """Run `work` in one transaction, committed when this returns."""
    with pool.connection(timeout=settings().webhook_patience) as connection, database.as_service(connection):
        return work(HandlerContext.begin(connection))


def _pairs(fields: Fields) -> list[tuple[str, str]]:
    return [(name, value) for name, values in fields.items() for value in values]
