"""The OpenAPI document: what FastAPI derives from the routes, with every problem document that can occur."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.web.problems import MEDIA_TYPE, FieldError, Problem

_DESCRIPTION = """\
Submit batches of outside work, follow them, and handle their failures.

Errors are problem documents (RFC 9457). Lists are pages: the header `Link` has the URL of the next one (`rel="next"`).
A request that creates a job or a run needs the header `Idempotency-Key`: the same key with the same body returns the
first answer, and with another body 409.
"""
_PROBLEMS = {
    400: "The body is not JSON in UTF-8.",
    401: "The bearer token is missing or not accepted.",
    403: "You may not do this.",
    404: "Not found, or owned by another tenant (not distinguished on purpose).",
    408: "The body did not arrive in time.",
    409: "The current state does not allow this, or the idempotency key was used for another request.",
    413: "The body is too large.",
    415: "The body has another media type.",
    422: "A value is not valid; `errors` names the fields.",
    429: "Too many requests; `Retry-After` has the seconds to wait.",
    500: "Unexpected error.",
    503: "The database is not available, or busy; `Retry-After` has the seconds to wait.",
}
CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "headers": {
            "Location": {"description": "The path of what was created.", "schema": {"type": "string"}},
            "Idempotency-Replayed": {
                "description": "`true` if an earlier request with this key created it.",
                "schema": {"type": "string"},
            },
        }
    }
}
"""The answer of a route that creates something once a key."""
_OF_EVERY_CALL = (401, 422, 429, 500, 503)
_OF_A_BODY = (400, 408, 413)
_RETRIED_LATER = {"429", "503"}


def problems_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that answers with these problems, besides those of every call."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: schema}} for status in statuses}


def install(app: FastAPI) -> None:
    """Let the application serve this document. It is built at the first request."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    template = "#/components/schemas/{model}"
    _, own = models_json_schema([(Problem, "serialization"), (FieldError, "serialization")], ref_template=template)
    for gone in ("HTTPValidationError", "ValidationError"):
        schemas.pop(gone, None)
    schemas.update(own["$defs"])
    for path, methods in made["paths"].items():
        for operation in methods.values():
            _add_problems(operation, is_api=path.startswith("/v1/"))
            _describe_streams(operation)
    return made


def _describe_streams(operation: dict[str, Any]) -> None:
    """Replace `itemSchema` of streams, which FastAPI takes from OpenAPI 3.2, although the document is of 3.1."""
    for response in operation["responses"].values():
        for media in response.get("content", {}).values():
            if media.pop("itemSchema", None) is not None:
                media["schema"] = {"type": "string", "description": "Server-sent events."}


def _add_problems(operation: dict[str, Any], *, is_api: bool) -> None:
    responses = operation["responses"]
    responses.pop("422", None) if "HTTPValidationError" in str(responses.get("422")) else None
    if is_api:
        wanted = _OF_EVERY_CALL + (_OF_A_BODY if "requestBody" in operation else ())
        for status, response in problems_of(*wanted).items():
            responses.setdefault(str(status), response)
    for status in _RETRIED_LATER & responses.keys():
        responses[status]["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
        }
    operation["responses"] = dict(sorted(responses.items()))
