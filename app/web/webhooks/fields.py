"""The fields of a webhook request, and its refusal."""

from __future__ import annotations

from collections.abc import Mapping

Fields = Mapping[str, tuple[str, ...]]
"""The fields of a form by name, each with its values in the order of the body."""


class Refused(Exception):
    """The request is not one that its sender has signed. The message is for the log, never for the answer."""


class Ambiguous(Refused):
    """The signature fits, but it fits other fields too. `fields`: those of the request."""

    def __init__(self, reason: str, fields: Fields) -> None:
        super().__init__(reason)
        self.fields = fields
