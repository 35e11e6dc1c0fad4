"""Processors: what is done with a message, by its content type.

`TALLYMAN_MESSAGE_PROCESSORS` names a processor for a content type: `image=photos.reading:describe`. A content type
without one has the default, which returns the normalised content. A processor may call the outside world, so it runs as
an effect, with no transaction open, at least once for each attempt.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from app.engine.domain import Call
from app.errors import SetupError
from app.messaging.content import Content
from app.messaging.rules import CONTENT_TYPES
from app.settings import settings
from events.messaging import ContentType


@dataclass(frozen=True, slots=True)
class Message:
    """A message for its processor.

    `reference`: equal for all deliveries of one attempt; give it to the other side, so that a repeated call is found.
    `user_id`: the person's key in `messaging.users`.
    """

    job_id: UUID
    attempt: int
    user_id: str
    source_channel_id: str
    content: Content

    @property
    def reference(self) -> str:
        """The job's id and the attempt."""
        return f"{self.job_id}.{self.attempt}"


Processor: TypeAlias = Callable[[Message, Call], Awaitable[Mapping[str, Any]]]
"""Process a message. Returns the job's content, which must be JSON. An error is retried by the engine's policy."""


async def normalise(message: Message, _call: Call) -> dict[str, Any]:
    """Return the normalised content: the default processor."""
    return message.content.model_dump(mode="json", exclude_none=True)


def processor(content_type: ContentType) -> Processor:
    """Return the processor of a content type. Raises `SetupError` if it cannot be imported."""
    address = registered().get(content_type)
    if address is None:
        return normalise
    try:
        found = pkgutil.resolve_name(address)
    except (ImportError, AttributeError, ValueError) as error:
        raise SetupError(f"{_wrong(content_type, address)} cannot be imported: {error}") from error
    if not callable(found):
        raise SetupError(f"{_wrong(content_type, address)} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def registered() -> dict[ContentType, str]:
    """Return the addresses of the registered processors, by content type. Raises `SetupError` for a bad setting."""
    entries = [entry.strip() for entry in settings().message_processors.split(",") if entry.strip()]
    found: dict[ContentType, str] = {}
    for entry in entries:
        name, sign, address = entry.partition("=")
        if name not in CONTENT_TYPES or not (sign and ":" in address):
            raise SetupError(
                f"TALLYMAN_MESSAGE_PROCESSORS: {entry!r} must be TYPE=package.module:NAME, with a type of"
                f" {', '.join(CONTENT_TYPES)}"
            )
        if name in found:
            raise SetupError(f"TALLYMAN_MESSAGE_PROCESSORS: {name} has two processors; remove one")
        found[name] = address
    return found


def _wrong(content_type: str, address: str) -> str:
    return f"TALLYMAN_MESSAGE_PROCESSORS: the processor of {content_type}, {address!r},"
