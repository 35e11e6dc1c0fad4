"""Problem documents: every error as `application/problem+json` (RFC 9457).

The text of an unexpected exception is never sent, because it may contain data: it is logged with the request's id.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolClosed, PoolTimeout
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import (
    Conflict,
    DuplicateRequest,
    Forbidden,
    InvalidFile,
    InvalidInput,
    KeyReused,
    NotFound,
    SetupError,
    TallymanError,
    Transient,
)
from app.web.headers import route_of
from events import InvalidEvent

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = 1
_MOST_ERRORS = 100
"""Errors of a document that are sent; the detail has the number of all."""
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_FIELD = re.compile(r"(?P<field>[a-z_]+(?:\[\d+\])?): (?P<message>.+)", re.DOTALL)
"""The form of `InvalidInput` messages: the field and the remedy."""


class FieldError(BaseModel):
    """A wrong part of the request. `field`: its place and name, for example `body.order_ids.0` or `query.limit`."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field("about:blank", description="Identifies the kind of problem; `about:blank`: the status says it.")
    title: str = Field(description="The kind of problem, in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong with this request, and the remedy.")
    errors: list[FieldError] = Field(default_factory=list, description="The wrong fields, by name.")
    job_id: str | None = Field(None, description="The existing job, if the idempotency key was used before.")


class ProblemError(Exception):
    """An error of the HTTP interface itself, such as a missing token. `headers`: sent with the document."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem(
    status: int,
    detail: str,
    *,
    kind: str | None = None,
    title: str | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    """Return a problem document as a response. `kind`: the last part of its `type`. `members`: further members."""
    document = {
        "type": f"urn:problem:tallyman:{kind}" if kind else "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **({"errors": [one.model_dump() for one in errors]} if errors else {}),
        **members,
    }
    return JSONResponse(document, status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def install(app: FastAPI) -> None:
    """Install the handlers of all expected errors."""
    handlers: dict[type[Exception], Any] = {
        TallymanError: _of_ours,
        InvalidEvent: _of_event,
        RequestValidationError: _of_validation,
        HTTPException: _of_http,
        ProblemError: _of_edge,
        psycopg.OperationalError: _of_database,
        psycopg.errors.InsufficientPrivilege: _of_privilege,
        PoolTimeout: _of_database,
        PoolClosed: _of_database,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


class Unexpected:
    """Middleware: an unexpected exception is logged, and answered with 500 without its text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application. Raises the exception again if the response has begun: the connection is then closed."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except Exception:
            if scope["type"] != "http" or begun:
                raise
            log.exception("unexpected", route=route_of(scope))
            await problem(500, "unexpected error; the server's log has it under this request's id")(
                scope, receive, send
            )


async def _of_ours(_: Request, error: TallymanError) -> JSONResponse:
    detail = str(error)
    match error:
        case InvalidFile():
            errors = [_field_error(one, "body") for one in error.problems[:_MOST_ERRORS]]
            return problem(422, detail, kind="invalid-file", title="Invalid file", errors=errors)
        case DuplicateRequest():
            return problem(409, detail, kind="duplicate-request", title="Duplicate request", job_id=str(error.job_id))
        case KeyReused():
            return problem(409, detail, kind="key-reused", title="Key reused", job_id=str(error.job_id))
        case NotFound():
            return problem(404, detail)
        case Forbidden():
            return problem(403, detail)
        case Conflict():
            return problem(409, detail, errors=_errors(detail))
        case InvalidInput():
            return problem(422, detail, errors=_errors(detail))
        case Transient():
            wait = error.retry_after or _RETRY_AFTER_S
            return problem(503, detail, headers={"Retry-After": str(math.ceil(wait))})
        case SetupError():
            log.error("setup", error=detail)
            return _unavailable("the server is not set up correctly; its log has the reason")
        case _:
            log.error("failed", error=detail, kind=type(error).__name__)
            return problem(500, "unexpected error; the server's log has it under this request's id")


async def _of_event(_: Request, error: InvalidEvent) -> JSONResponse:
    return problem(422, str(error))


async def _of_validation(_: Request, error: RequestValidationError) -> JSONResponse:
    # Exclude the input: it may be a secret.
    found = list(error.errors())
    errors = [FieldError(field=".".join(map(str, one["loc"])), message=str(one["msg"])) for one in found]
    if any(one["type"] == "json_invalid" for one in found):
        return problem(400, f"body: is not JSON: {errors[0].message}", errors=errors[:1])
    more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
    return problem(
        422, f"{errors[0].field}: {errors[0].message}{more}", kind="invalid-request", errors=errors[:_MOST_ERRORS]
    )


async def _of_http(request: Request, error: HTTPException) -> JSONResponse:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router names the methods of the first route with this path only.
        headers["Allow"] = ", ".join(method for method in _METHODS if _serves(request, method))
    return problem(error.status_code, str(error.detail), headers=headers)


def _serves(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] == Match.FULL for route in request.app.routes)


async def _of_edge(_: Request, error: ProblemError) -> JSONResponse:
    return problem(error.status, error.detail, headers=error.headers)


async def _of_database(_: Request, error: Exception) -> JSONResponse:
    log.warning("database", kind=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
    return _unavailable("the database is not available, or busy; try again")


async def _of_privilege(_: Request, error: psycopg.Error) -> JSONResponse:
    log.warning("refused", error=error.diag.message_primary)
    return problem(403, "you may not do this")


def _unavailable(detail: str) -> JSONResponse:
    return problem(503, detail, headers={"Retry-After": str(_RETRY_AFTER_S)})


def _errors(detail: str) -> list[FieldError]:
    found = _FIELD.fullmatch(detail)
    return [FieldError(field=found["field"], message=found["message"])] if found else []


def _field_error(text: str, default: str) -> FieldError:
    found = _errors(text)
    return found[0] if found else FieldError(field=default, message=text)
