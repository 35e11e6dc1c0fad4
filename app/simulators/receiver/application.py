"""The receiver's HTTP contract.

POST /behaviour  change the given settings, from the next request on
GET  /record     every received request
POST /*          a webhook, with the headers of Standard Webhooks → 204; 401 without a valid signature; or as the
                 behaviour says
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, assert_never, cast

from fastapi import Body, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from standardwebhooks import Webhook, WebhookVerificationError

from app.simulators import serving
from app.simulators.receiver.behaviour import Behaviour, Reaction
from app.simulators.receiver.record import Received


class Desk(serving.Desk[Behaviour]):
    """One receiver's state."""

    def __init__(self, behaviour: Behaviour, clock: Callable[[], float]) -> None:
        super().__init__(behaviour, clock)
        self.received: list[Received] = []
        self.counted: Counter[str] = Counter()
        self.under_way: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()

    def reaction(self, path: str) -> Reaction:
        """Return the reaction to a verified request, and count it."""
        found = self.behaviour.paths.get(path, Reaction())
        self.counted[path] += 1
        return found if found.times is None or self.counted[path] <= found.times else Reaction()


def create_receiver(behaviour: Behaviour, *, clock: Callable[[], float]) -> FastAPI:
    """Create a receiver with an empty record. Its `Desk` is `app.state.desk`."""
    app = FastAPI(title="Receiver of webhooks (simulated)", openapi_url=None)
    app.state.desk = Desk(behaviour, clock)
    app.add_api_route("/behaviour", _change, methods=["POST"])
    app.add_api_route("/record", _record, methods=["GET"])
    app.add_api_route("/{path:path}", _receive, methods=["POST"])
    return app


def _desk(request: Request) -> Desk:
    return cast("Desk", request.app.state.desk)


async def _change(request: Request, changes: Annotated[dict[str, Any], Body()]) -> Response:
    desk = _desk(request)
    desk.behaviour = desk.behaviour.changed(**changes)
    return Response(status_code=204)


async def _record(request: Request) -> Response:
    return JSONResponse([asdict(one) for one in _desk(request).received])


async def _receive(request: Request) -> Response:
    desk, path, body = _desk(request), request.url.path, (await request.body()).decode()
    is_verified = _is_verified(desk.behaviour.secrets, body, dict(request.headers))
    reaction = desk.reaction(path) if is_verified else Reaction(then="answer", status=401, text="unknown signature")
    desk.under_way[path] += 1
    desk.most_at_once[path] = max(desk.most_at_once[path], desk.under_way[path])
    try:
        await desk.work(reaction.latency_ms / 1000)
        answer = await _react(desk, request, reaction)
    finally:
        desk.under_way[path] -= 1
    headers = request.headers
    desk.received.append(
        Received(
            path,
            headers.get("webhook-id", ""),
            headers.get("webhook-timestamp", ""),
            headers.get("webhook-signature", ""),
            headers.get("content-type", ""),
            body,
            is_verified,
            answer.status_code if answer else None,
        )
    )
    return answer or Response()


def _is_verified(secrets: tuple[str, ...], body: str, headers: dict[str, str]) -> bool:
    for secret in secrets:
        try:
            Webhook(secret).verify(body, headers)
        except (WebhookVerificationError, ValueError):  # ValueError: a malformed header
            continue
        return True
    return False


async def _react(desk: Desk, request: Request, reaction: Reaction) -> Response | None:
    """Return the answer; None if the caller gets none."""
    match reaction.then:
        case "accept":
            return Response(status_code=204)
        case "answer":
            wait = None if reaction.retry_after_s is None else {"Retry-After": str(reaction.retry_after_s)}
            return PlainTextResponse(reaction.text, reaction.status, wait)
        case "redirect":
            return RedirectResponse("/elsewhere", 307)
        case "hang":
            await desk.hold(request)
            return None
        case "cut":
            await serving.cut(request)
            return None
        case "flood":
            return StreamingResponse(desk.flood(lambda _: None))
        case other:
            assert_never(other)
