"""Rules of webhooks: what is sent, and the meaning of an answer."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from app.errors import InvalidInput
from app.webhooks import rules
from app.webhooks.rules import Owner, Verdict
from events import robot


@pytest.mark.parametrize(
    ("status", "retry_after", "expected"),
    [
        (200, None, "delivered"),
        (204, 60.0, "delivered"),
        (299, None, "delivered"),
        (301, None, "failed"),
        (307, None, "failed"),
        (400, None, "failed"),
        (404, 60.0, "failed"),
        (410, None, "gone"),
        (410, 60.0, "gone"),
        (429, None, "failed"),
        (429, 0.0, "put_off"),
        (500, 60.0, "failed"),
        (503, None, "failed"),
        (503, 60.0, "put_off"),
    ],
)
def test_the_meaning_of_an_answer(status: int, retry_after: float | None, expected: Verdict) -> None:
    """Only 2xx is a success; 410 ends the endpoint; 429 and 503 with Retry-After put it off."""
    assert rules.verdict(status, retry_after) == expected


def test_a_pause_has_limits() -> None:
    """An endpoint can neither stop its deliveries for weeks nor be asked in a loop."""
    assert [rules.pause(one) for one in (0.0, 60.0, 1e9)] == [5.0, 60.0, 86_400.0]


def test_the_body_is_that_of_standard_webhooks() -> None:
    """Type, timestamp in UTC, data; the same bytes for the same event."""
    at = datetime(2026, 11, 28, 10, 0, 0, 5, tzinfo=timezone(timedelta(hours=-5)))
    text = rules.body("robot.job.completed", at, {"city": "Bogotá"})
    assert text == '{"type":"robot.job.completed","timestamp":"2026-11-28T15:00:00.000005Z","data":{"city":"Bogotá"}}'
    assert json.loads(text)["data"] == {"city": "Bogotá"}


def test_a_public_name_is_separated_by_dots() -> None:
    """As Standard Webhooks recommends."""
    assert rules.public_name(robot.JobCompleted) == "robot.job.completed"


@pytest.mark.parametrize(
    ("owner", "names", "message"),
    [
        ("workspace", [], "event: name at least one; an endpoint of a workspace can get robot.job.completed, order"),
        ("workspace", ["collection.job.completed"], "event: 'collection.job.completed' is not published"),
        ("org", ["robot.job.completed"], "an endpoint of an organisation can get collection.job.completed"),
        ("workspace", ["robot/job.completed"], "is not published"),
    ],
)
def test_only_types_of_the_tenant_can_be_chosen(owner: Owner, names: list[str], message: str) -> None:
    """The error lists them."""
    with pytest.raises(InvalidInput, match=message):
        rules.check_event_types(owner, names)


def test_chosen_types_are_kept_once() -> None:
    """In alphabetical order."""
    names = ["robot.job.completed", "order.updated", "robot.job.completed"]
    assert rules.check_event_types("workspace", names) == ["order.updated", "robot.job.completed"]


def test_a_delivery_has_one_id() -> None:
    """For an event and an endpoint, however often it is made."""
    ids = [rules.delivery_id(UUID(int=a), UUID(int=b)) for a, b in ((1, 2), (1, 2), (2, 1), (1, 3))]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_an_answer_is_made_printable() -> None:
    """And cut."""
    assert rules.printable(b"\x1b[31mno\r\n\xff\x00") == "[31mno  \ufffd"
    assert len(rules.printable(b"a" * 4096)) == rules.ANSWER_CHARS
