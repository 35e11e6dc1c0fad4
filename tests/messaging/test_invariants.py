"""Audit of messages: each invariant is a query that finds what breaks it, and nothing else."""

from __future__ import annotations

import psycopg
import pytest

from app.engine.inspect.invariants import audit
from app.messaging.fixtures.chat import Chat
from app.messaging.invariants import MESSAGING
from tests.conftest import Database
from tests.helpers.support import deliver, drain_all

BREAKS: dict[str, str] = {
    "message jobs: an open job has an event that is waiting, in delivery or dead": """
        DELETE FROM public.procrastinate_jobs WHERE queue_name = 'messages'""",
    "message jobs: completed once an attempt": """
        INSERT INTO engine.event_log (event_id, type, version, subject_id, data, occurred_at)
        SELECT gen_random_uuid(), type, version, subject_id, data, occurred_at FROM engine.event_log
         WHERE type = 'message/job.completed'""",
    "message jobs: one a message": """
        ALTER TABLE messaging.jobs DROP CONSTRAINT jobs_provider_message_id_key;
        UPDATE messaging.jobs SET provider_message_id = 'SM1'""",
    "message jobs: status, content and timestamps agree": """
        ALTER TABLE messaging.jobs DROP CONSTRAINT jobs_ended;
        UPDATE messaging.jobs SET completed_at = now() WHERE status = 'processing'""",
    "messages: a person is found by the key": """
        DELETE FROM messaging.user_aliases WHERE alias = '+573011234567'""",
    "messages: a person with a number has it as the key": """
        INSERT INTO messaging.user_aliases (alias, phone_number, kind)
        VALUES ('+573021234567', 'whatsapp:CO.17', 'number')""",
}


@pytest.fixture
def messages(chat: Chat) -> Chat:
    """A message that is complete and one in processing, of two people, one of them without a number."""
    chat.post()
    drain_all(chat.connection)
    chat.post(From="whatsapp:CO.17", WaId="")
    deliver(chat.connection, queues=["events"])
    return chat


def test_every_invariant_is_broken_here() -> None:
    """A new invariant needs a violation, or nobody knows whether its query finds anything."""
    assert sorted(BREAKS) == sorted(one.name for one in MESSAGING)


@pytest.mark.parametrize("name", BREAKS)
def test_a_violation_is_found_and_named(database: Database, messages: Chat, name: str) -> None:
    """By its own invariant alone; before it, all hold. Constraints are dropped in a transaction that is rolled back."""
    with psycopg.connect(database.superuser_url) as connection:
        assert [verdict.name for verdict in audit(connection, MESSAGING) if not verdict.holds] == []
        connection.execute(BREAKS[name].encode())
        broken = {one.name: connection.execute(one.statement).fetchall() for one in MESSAGING}
        connection.rollback()
    assert {found: len(rows) for found, rows in broken.items() if rows} == {name: 1}
