"""Ids of pages and of their requests. Pure.

A page's id derives from its run, category and cursor, or from the page whose items it asks for again. It is the
reference of the page's charge in all attempts. The id of a request's event derives from the page and the attempt.
"""

from __future__ import annotations

import json
from uuid import UUID, uuid5

from events import Event
from events.collection import PageRequested


def page_id(run_id: UUID, category_id: str, cursor: str) -> UUID:
    """Return the id of a category's page."""
    return uuid5(run_id, json.dumps([category_id, cursor]))


def items_page_id(root_id: UUID, number: int) -> UUID:
    """Return the id of the page that asks for items of the page `root_id` for the `number`th time."""
    return uuid5(root_id, f"items/{number}")


def request_id(of_page: UUID, attempt: int) -> UUID:
    """Return the id of a request's event, which is also the key of its call."""
    return uuid5(of_page, f"{PageRequested.type}/{attempt}")


def call_key(event: Event[PageRequested]) -> UUID:
    """Return the key of a request's call: equal for all requests of one attempt at a page."""
    return request_id(event.data.page_id, event.data.attempt)
