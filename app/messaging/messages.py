"""Read messages: list jobs, show one with its sender. For operators; no person may read messages."""

from __future__ import annotations

from uuid import UUID

from app.context import Connection
from app.errors import NotFound
from app.messaging import rules, store
from app.messaging.numbers import e164
from app.messaging.store import Job, Person

__all__ = ["Job", "Person", "list_messages", "show_message"]


def list_messages(
    connection: Connection,
    *,
    status: str | None = None,
    content_type: str | None = None,
    sender: str | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[Job]:
    """Return jobs, newest first. `sender`: a number in any spelling, or an id. `before`: the previous page's last job.

    Raises `InvalidInput` for an unknown status or content type, and a limit that is not 1 to 1000.
    """
    rules.check_page(limit)
    if status is not None:
        rules.check_word(status, rules.STATUSES)
    if content_type is not None:
        rules.check_content_type(content_type)
    name = (e164(sender) or sender) if sender else None
    return store.list_jobs(
        connection, status=status, content_type=content_type, sender=name, before=before, limit=limit
    )


def show_message(connection: Connection, wanted: str) -> tuple[Job, Person]:
    """Return a job, by its id or the provider's id of the message, and its sender. Raises `NotFound`."""
    job = store.find_job(connection, wanted)
    person = store.find_person(connection, job.user_id) if job else None
    if job is None or person is None:
        raise NotFound(f"message: there is no message {wanted}; `messages list` shows them")
    return job, person
