"""Messages that Twilio posts. A verified message is answered with 200 once it is durable, and never before.

Twilio repeats no request that was answered with 4xx or 5xx unless its URL asks for it: docs/messaging.md.
"""

from __future__ import annotations

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.routing import Route

from app.errors import SetupError
from app.settings import settings
from app.web.problems import Problem, ProblemError
from app.web.webhooks.fields import Ambiguous, Refused
from app.web.webhooks.twilio_intake import Intake
from app.web.webhooks.twilio_signature import Posted

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
"""The answer that makes Twilio do nothing more."""


class TwiML(Response):
    """An answer in Twilio's XML."""

    media_type = "text/xml"


@router.post(
    "/twilio/{endpoint_token}",  # noqa: FAST003 - read from the request: see the route at the end
    response_class=TwiML,
    summary="Take a message from Twilio",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
        },
        "parameters": [
            {"in": "path", "name": "endpoint_token", "required": True, "schema": {"type": "string"}},
            {
                "in": "header",
                "name": "X-Twilio-Signature",
                "required": True,
                "schema": {"type": "string"},
                "description": "Twilio's signature over the URL and the fields.",
            },
        ],
    },
    responses={
        403: {"model": Problem, "description": "Twilio has not sent this request for this endpoint."},
        503: {"model": Problem, "description": "The message could not be stored; send it again."},
    },
)
async def take_message(request: Request) -> Response:
    """Make a message a job, once, however often it is posted.

    A verified message that cannot be made a job becomes a dead letter, and the answer is 200, too.
    """
    request.scope["route"] = _PLAIN  # for the log, as FastAPI's routes do
    intake = _intake(request.app)
    posted = _posted(request, await request.body())
    try:
        fields = await intake.verify(posted, request.path_params["endpoint_token"])
    except Refused as error:
        log.warning("refused a webhook request", reason=str(error))
        if isinstance(error, Ambiguous):
            await intake.keep(error.fields, error)
        raise ProblemError(403, "Twilio has not sent this request for this endpoint") from None
    await intake.take(fields)
    return TwiML(TWIML)


def _intake(app: FastAPI) -> Intake:
    """Return the intake of this application, which is made at the first request: then there is a pool."""
    if not hasattr(app.state, "twilio"):
        app.state.twilio = Intake(app.state.pool)
    intake: Intake = app.state.twilio
    return intake


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


# The route above is for the documentation. This one is tried first: FastAPI's own takes a fifth of a request's time.
_PLAIN = Route(f"{router.prefix}/twilio/{{endpoint_token}}", take_message, methods=["POST"])
router.routes.insert(0, _PLAIN)
