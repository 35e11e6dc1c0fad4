"""Checkups of messaging, for `doctor`: processors that cannot be imported."""

from __future__ import annotations

from collections.abc import Iterator

from app.engine.health.doctor import CheckContext, Checkup, Finding
from app.errors import SetupError
from app.messaging.processors import processor
from app.messaging.rules import CONTENT_TYPES

_WAITING = """
SELECT content_type, count(*) FROM messaging.jobs WHERE status = 'processing' GROUP BY 1
"""


def _processors(context: CheckContext) -> Iterator[Finding]:
    """Report content types without a processor that can be imported, with the number of messages that wait for it."""
    waiting: dict[str, int] = dict(context.service.execute(_WAITING).fetchall())
    for content_type in CONTENT_TYPES:
        try:
            processor(content_type)
        except SetupError as error:
            what = f"{waiting.get(content_type, 0)} messages of type {content_type} wait: {error}"
            yield Finding("problem", "processors", what, "correct TALLYMAN_MESSAGE_PROCESSORS and restart the workers")


MESSAGING = (Checkup("processors", _processors, "every content type of messages has a processor that can be imported"),)
