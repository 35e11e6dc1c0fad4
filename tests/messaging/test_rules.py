"""The states of a job: the trigger refuses what the rules do not allow."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from psycopg import errors

from app.messaging.fixtures.chat import Chat
from app.messaging.rules import STATUSES, TRANSITIONS, JobStatus

FORM: dict[JobStatus, str] = {
    "pending": "started_at = NULL, completed_at = NULL, content = NULL, error_message = NULL",
    "processing": "started_at = now(), completed_at = NULL, content = NULL, error_message = NULL",
    "complete": "started_at = now(), completed_at = now(), content = '{}', error_message = NULL",
    "failed": "started_at = now(), completed_at = now(), content = NULL, error_message = 'no'",
}
"""What a job of each status has, by the CHECKs."""
_PATHS: dict[JobStatus, list[JobStatus]] = {
    "pending": [],
    "processing": ["processing"],
    "complete": ["processing", "complete"],
    "failed": ["processing", "failed"],
}


@pytest.mark.parametrize(("before", "after"), [pair for pair in product(STATUSES, STATUSES) if pair[0] != pair[1]])
def test_the_trigger_has_the_transitions_of_the_rules(chat: Chat, before: JobStatus, after: JobStatus) -> None:
    """And no others."""
    chat.post()
    for status in _PATHS[before]:
        change(chat, status)
    if after in TRANSITIONS[before]:
        change(chat, after)
    else:
        with pytest.raises(errors.CheckViolation, match=f"a message job that is {before} cannot become {after}"):
            change(chat, after)


def change(chat: Chat, status: JobStatus) -> Any:
    """Set the status of all jobs, with what it needs."""
    statement = f"UPDATE messaging.jobs SET status = '{status}', content_type = 'text', {FORM[status]}"  # noqa: S608
    return chat.connection.execute(statement.encode())
