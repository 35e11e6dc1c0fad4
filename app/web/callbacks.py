"""Callbacks: results that external services report, signed by Standard Webhooks."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from pydantic_core import from_json

from app import database, standard_webhooks
from app.context import Context
from app.logistics.callback_secrets import keys_of
from app.logistics.callbacks import MOST_RESULTS, Verdict, take_results
from app.standard_webhooks import Unverified
from app.web.access import Pool
from app.web.body import RawBody
from app.web.problems import Problem, ProblemError
from events.robot import ItemCompleted

router = APIRouter(prefix="/callbacks", tags=["callbacks"])

_RESULT = ItemCompleted.model_json_schema()
_EXAMPLE = {
    "job_id": "0198c0de-0000-7000-8000-000000000001",
    "item_id": "0198c0de-0000-7000-8000-000000000002",
    "attempt": 0,
    "status": "success",
    "tracking_number": "240006123",
}
_REQUEST_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "oneOf": [_RESULT, {"type": "array", "items": _RESULT, "minItems": 1, "maxItems": MOST_RESULTS}],
            },
            "example": [_EXAMPLE],
        }
    },
}


class Verdicts(BaseModel):
    """A verdict for each result, in their order."""

    results: list[Verdict]


@router.post(
    "/robot/items",
    status_code=202,
    summary="Report results of items",
    openapi_extra={
        "requestBody": _REQUEST_BODY,
        "parameters": [
            {"in": "header", "name": name, "required": True, "schema": {"type": "string"}, "description": description}
            for name, description in (
                ("webhook-id", "Identifies the message. A repeated message has no further effect."),
                ("webhook-timestamp", "Unix time in seconds, within five minutes of now."),
                ("webhook-signature", "Signatures of Standard Webhooks over the raw body."),
            )
        ],
    },
    responses={
        400: {"model": Problem, "description": "The body is not JSON."},
        403: {"model": Problem, "description": "The request is not signed with a secret of the workspace."},
        422: {"model": Problem, "description": "There are no results, or too many."},
    },
)
def report_items(
    workspace: Annotated[UUID, Query(description="The workspace whose items these are.")],
    request: Request,
    body: RawBody,
    pool: Pool,
) -> Verdicts:
    """Publish one result (an object) or up to 500 (an array) of a workspace's items. Answered once they are durable.

    Every result gets a verdict: `accepted`, `late`, `unknown` or `invalid`, and the id of its event unless `invalid`.
    """
    with pool.connection() as connection:
        with database.as_service(connection):
            keys = keys_of(connection, workspace)
        try:
            message_id = standard_webhooks.verify(keys, request.headers, body)
        except Unverified as error:
            raise ProblemError(403, str(error)) from None
        results = _results(body)
        with database.as_service(connection):
            return Verdicts(results=take_results(Context.start(connection, workspace), message_id, results))


def _results(body: bytes) -> list[Any]:
    try:
        read = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ProblemError(400, f"body: is not JSON: {error}") from None
    return read if isinstance(read, list) else [read]
