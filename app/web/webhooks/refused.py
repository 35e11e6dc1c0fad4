"""The refusal of a webhook request."""

from __future__ import annotations


class Refused(Exception):
    """The request is not one that its sender has signed. The message is for our log, never for the answer."""
