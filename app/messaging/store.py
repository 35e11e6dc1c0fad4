"""Rows of message jobs and people, and the statements that read and change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from app.context import Connection
from app.messaging.rules import JobStatus
from app.messaging.twilio_form import Fields, Incoming, SourceType
from events.messaging import ContentType, ProcessingCompleted


@dataclass(frozen=True, slots=True)
class Job:
    """A message's job. `payload`: the form fields as they were posted; `content`: what the processor returned."""

    id: UUID
    user_id: str
    source_channel_id: str
    source_type: SourceType
    user_phone: str
    content_type: ContentType | None
    payload: list[list[str]]
    content: dict[str, Any] | None
    status: JobStatus
    attempt: int
    provider_message_id: str | None
    error_message: str | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime

    @property
    def fields(self) -> Fields:
        """The form fields as they were posted."""
        return tuple((name, value) for name, value in self.payload)


@dataclass(frozen=True, slots=True)
class Person:
    """A person who sends messages. `aliases`: all names, sorted."""

    phone_number: str
    first_name: str | None
    aliases: list[str]


_INSERT = """
INSERT INTO messaging.jobs (id, user_id, source_channel_id, source_type, user_phone, payload, provider_message_id)
VALUES (%(id)s, messaging.find_user(%(aliases)s, %(kinds)s, %(first_name)s), %(channel)s, %(source_type)s, %(sender)s,
        %(payload)s, %(message_id)s)
ON CONFLICT (provider_message_id) DO NOTHING
RETURNING id
"""
_INSERT_ALL = """
INSERT INTO messaging.jobs (id, user_id, source_channel_id, source_type, user_phone, payload, provider_message_id)
SELECT m.id, messaging.find_user(m.aliases, m.kinds, m.first_name), m.channel, m.source_type, m.sender, m.payload,
       m.message_id
  FROM jsonb_to_recordset(%s) AS m (id uuid, aliases text[], kinds text[], first_name text, channel text,
                                    source_type text, sender text, payload jsonb, message_id text)
ON CONFLICT (provider_message_id) DO NOTHING
RETURNING id, provider_message_id
"""
_ID = "SELECT id FROM messaging.jobs WHERE provider_message_id = %s"
_FIND = "SELECT * FROM messaging.jobs WHERE id = ANY(%s)"
_LOCK = "SELECT * FROM messaging.jobs WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
_START = """
UPDATE messaging.jobs j SET status = 'processing', content_type = s.content_type, started_at = now()
  FROM unnest(%s::uuid[], %s::text[]) AS s (id, content_type) WHERE j.id = s.id
"""
_END = """
UPDATE messaging.jobs j
   SET status = e.status, content = e.content, error_message = e.error_message, completed_at = now()
  FROM jsonb_to_recordset(%s) AS e (job_id uuid, status text, content jsonb, error_message text)
 WHERE j.id = e.job_id
"""
_REOPEN = """
UPDATE messaging.jobs j
   SET status = 'pending', attempt = j.attempt + 1, error_message = NULL, started_at = NULL, completed_at = NULL
 WHERE j.id = %s AND j.status = 'failed'
RETURNING j.id
"""
_LIST = """
SELECT * FROM messaging.jobs j
 WHERE (%(status)s::text IS NULL OR j.status = %(status)s)
   AND (%(content_type)s::text IS NULL OR j.content_type = %(content_type)s)
   AND (%(sender)s::text IS NULL
        OR j.user_id = (SELECT a.phone_number FROM messaging.user_aliases a WHERE a.alias = %(sender)s))
   AND (%(before)s::uuid IS NULL
        OR (j.created_at, j.id) < (SELECT b.created_at, b.id FROM messaging.jobs b WHERE b.id = %(before)s))
 ORDER BY j.created_at DESC, j.id DESC LIMIT %(limit)s
"""
_JOB = "SELECT * FROM messaging.jobs WHERE id::text = %(wanted)s OR provider_message_id = %(wanted)s"
_PERSON = """
SELECT u.phone_number, u.first_name,
       ARRAY(SELECT a.alias FROM messaging.user_aliases a WHERE a.phone_number = u.phone_number ORDER BY 1) AS aliases
  FROM messaging.users u WHERE u.phone_number = %s
"""


def insert_job(connection: Connection, job_id: UUID, message: Incoming) -> bool:
    """Insert the job of a message, with its sender. Returns False if the message has a job already.

    Waits for a concurrent transaction that inserts the same message, or links or merges the same person.
    """
    given = {**_columns(message), "id": job_id, "payload": Jsonb(message.fields)}
    return connection.execute(_INSERT, given).fetchone() is not None


def insert_jobs(connection: Connection, messages: Mapping[UUID, Incoming]) -> list[tuple[UUID, str]]:
    """Insert the jobs of messages, by job id, with their senders. Returns id and message's id of each new job.

    Messages that have a job already are left out. Waits as `insert_job()` does.
    """
    rows = [{**_columns(message), "id": str(job_id), "payload": message.fields} for job_id, message in messages.items()]
    return connection.execute(_INSERT_ALL, [Jsonb(rows)]).fetchall()


def _columns(message: Incoming) -> dict[str, Any]:
    return {
        "aliases": [alias.name for alias in message.aliases],
        "kinds": [alias.kind for alias in message.aliases],
        "first_name": message.first_name,
        "channel": message.channel_id,
        "source_type": message.source_type,
        "sender": message.sender,
        "message_id": message.message_id,
    }


def job_id_of(connection: Connection, message_id: str) -> UUID | None:
    """Return the id of a message's job, by the provider's id of the message."""
    found: UUID | None = connection.cursor(row_factory=scalar_row).execute(_ID, [message_id]).fetchone()
    return found


def find_jobs(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, Job]:
    """Return jobs by id, without locks."""
    found = connection.cursor(row_factory=class_row(Job)).execute(_FIND, [list(job_ids)]).fetchall()
    return {job.id: job for job in found}


def lock_jobs(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, Job]:
    """Lock jobs in the order of their ids until the transaction ends. Returns those that exist, by id."""
    found = connection.cursor(row_factory=class_row(Job)).execute(_LOCK, [list(job_ids)]).fetchall()
    return {job.id: job for job in found}


def start(connection: Connection, types: Mapping[UUID, ContentType]) -> None:
    """Set pending jobs to processing, with their content types."""
    connection.execute(_START, [list(types), list(types.values())])


def end(connection: Connection, results: Sequence[ProcessingCompleted]) -> None:
    """Set jobs in processing to the status of their results."""
    connection.execute(_END, [Jsonb([result.model_dump(mode="json") for result in results])])


def reopen(connection: Connection, job_id: UUID) -> bool:
    """Set a failed job to pending, as its next attempt. Returns False if it has not failed."""
    return connection.execute(_REOPEN, [job_id]).fetchone() is not None


def list_jobs(
    connection: Connection,
    *,
    status: str | None,
    content_type: str | None,
    sender: str | None,
    before: UUID | None,
    limit: int,
) -> list[Job]:
    """Return jobs, newest first. `sender`: any name of a person. `before`: the last job of the previous page."""
    given = {"status": status, "content_type": content_type, "sender": sender, "before": before, "limit": limit}
    return connection.cursor(row_factory=class_row(Job)).execute(_LIST, given).fetchall()


def find_job(connection: Connection, wanted: str) -> Job | None:
    """Return the job with this id, or of the message with this id of the provider."""
    return connection.cursor(row_factory=class_row(Job)).execute(_JOB, {"wanted": wanted}).fetchone()


def find_person(connection: Connection, phone_number: str) -> Person | None:
    """Return a person with all names, by the key in `messaging.users`."""
    return connection.cursor(row_factory=class_row(Person)).execute(_PERSON, [phone_number]).fetchone()
