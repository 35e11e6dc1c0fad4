"""Reasons of messages: how a message's job ended, and why its processor cannot run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from app.engine.inspect.reasons import Reason, shown


@dataclass(frozen=True, slots=True)
class MessageEnded(Reason):
    """The message was processed, or its processing failed."""

    kind: ClassVar[str] = "done"
    status: str
    content_type: str | None
    completed_at: datetime
    error_message: str | None

    @property
    def sentence(self) -> str:
        """The status, the content type, and the error with its remedy."""
        why = f": {self.error_message}; a replay of its dead letter reopens it" if self.error_message else ""
        return f"the message ({self.content_type}) is {self.status} since {shown(self.completed_at)}{why}"


@dataclass(frozen=True, slots=True)
class NoProcessor(Reason):
    """The processor of the message's content type cannot be imported. `problem`: the setting and the error."""

    kind: ClassVar[str] = "no_processor"
    problem: str

    @property
    def sentence(self) -> str:
        """The problem, and what happens when it is corrected."""
        return f"{self.problem}; the message waits until workers start with a processor that can be imported"
