"""Sellers found by runs: the place where the results of sellers' items reach the organisation's list of sellers."""

from __future__ import annotations

from collections.abc import Sequence

from app.context import Connection
from events import Event
from events.collection import ItemCompleted


def record(connection: Connection, counted: Sequence[Event[ItemCompleted]]) -> None:
    """Record the sellers of results that count for the first time, in the caller's transaction."""
    del connection, counted
