"""Ids of pages and of their requests."""

from __future__ import annotations

from uuid import UUID

from app.collection import page_ids
from events import new_id

RUN = UUID("01a221c8-143d-7ec3-bf48-979f3c9d1bcd")


def test_ids_depend_on_what_a_page_is() -> None:
    """A repeated insert of a page gives the same reference; nothing else does."""
    ids = [
        page_ids.page_id(RUN, "a", ""),
        page_ids.page_id(RUN, "a", "x"),
        page_ids.page_id(RUN, "ax", ""),
        page_ids.page_id(RUN, "", "ax"),
        page_ids.page_id(new_id(), "a", ""),
        page_ids.items_page_id(RUN, 1),
        page_ids.items_page_id(RUN, 2),
    ]
    assert len(set(ids)) == len(ids)
    assert page_ids.page_id(RUN, "a", "x") == ids[1]


def test_a_request_depends_on_page_and_attempt() -> None:
    """So that a request that is published twice is one event."""
    assert page_ids.request_id(RUN, 1) == page_ids.request_id(RUN, 1) != page_ids.request_id(RUN, 2)
