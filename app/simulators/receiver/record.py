"""The requests that a receiver got. Only its event loop writes the record. A test in another thread may read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One request. `is_verified`: the library accepted its signature. `status`: of the answer; None: none was sent."""

    path: str
    message_id: str
    timestamp: str
    signature: str
    content_type: str
    body: str
    is_verified: bool
    status: int | None

    @property
    def event(self) -> dict[str, Any]:
        """The body's JSON object: type, timestamp and data."""
        found: dict[str, Any] = json.loads(self.body)
        return found
