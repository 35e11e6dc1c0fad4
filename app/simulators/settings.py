"""The base of a simulator's settings."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings of a simulator. They do not change; a simulator gets other ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def changed(self, **changes: Any) -> Self:
        """Return a copy with some settings changed. Raises pydantic's `ValidationError` for an invalid setting."""
        return self.model_validate(self.model_dump() | changes)
