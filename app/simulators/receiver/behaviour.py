"""The receiver's settings: its secrets, and how it reacts on each path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveInt

from app.simulators.settings import Settings

Outcome = Literal["accept", "answer", "redirect", "hang", "cut", "flood"]
"""`accept`: 204. `answer`: `status`. `redirect`: 307 to `/elsewhere`. `hang`: no answer. `cut`: the connection breaks.
`flood`: 200 and an endless body."""


class Reaction(BaseModel):
    """How the receiver reacts to requests with a valid signature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    then: Outcome = "accept"
    times: PositiveInt | None = None
    """Number of requests of a path that it applies to; later ones are accepted. None: all."""
    status: int = 500
    """The status of `answer`."""
    text: str = "it broke"
    """The body of `answer`."""
    retry_after_s: NonNegativeInt | None = None
    """Retry-After header of `answer`, in seconds; None: no header."""
    latency_ms: NonNegativeFloat = 0
    """Milliseconds until an answer."""


class Behaviour(Settings):
    """The receiver's settings."""

    secrets: tuple[str, ...] = ()
    """The secrets that it knows, `whsec_...`. A request that none of them signed is answered 401."""
    paths: Mapping[str, Reaction] = {}
    """Reactions by path, such as `/hooks`. Every other path accepts."""
