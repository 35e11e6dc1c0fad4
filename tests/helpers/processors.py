"""Processors of messages for tests, named by address in TALLYMAN_MESSAGE_PROCESSORS."""

from __future__ import annotations

from typing import Any

from app.engine.domain import Call
from app.errors import Transient
from app.messaging.processors import Message

HERE = __name__

NOT_A_FUNCTION = "describe"

seen: list[str] = []
"""The references of the messages that `describe` and `wait` were given. Tests clear it."""


async def describe(message: Message, call: Call) -> dict[str, Any]:
    """Return what the processor was given."""
    seen.append(message.reference)
    return {"links": len(message.content.links), "attempt": message.attempt, "in_doubt": call.in_doubt}


async def wait(message: Message, _call: Call) -> dict[str, Any]:
    """Fail at the first call about a message, with an error that a retry can help."""
    seen.append(message.reference)
    if seen.count(message.reference) == 1:
        raise Transient("the model is busy")
    return {"calls": seen.count(message.reference)}


async def unreadable(_message: Message, _call: Call) -> Any:
    """Return what is no mapping."""
    return 7


async def unstorable(_message: Message, _call: Call) -> dict[str, Any]:
    """Return text that PostgreSQL cannot store."""
    return {"text": "a\x00b"}


async def crash(_message: Message, _call: Call) -> dict[str, Any]:
    """Fail with an error of the processor's own, whose text cannot be stored."""
    raise KeyError("a\x00b")
