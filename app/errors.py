"""Exceptions of the program.

TallymanError
├── Transient              a retry can help
│   ├── Busy               a resource is in use; the attempt does not count
│   └── BadAnswer          the answer of an effect's other side cannot be read
├── Permanent              a retry cannot help
│   ├── NotCalled          an effect failed before anything was sent
│   ├── ReusedId           two different events have the same id
│   ├── FailingEvents      a handler names the events of its list that cannot be applied
│   └── InDoubt            an outside call may have been made, and the other side cannot be asked
├── InvalidInput           the request is wrong: exit code 2, HTTP 4xx
│   ├── NotFound           not found, or owned by another tenant (not distinguished on purpose)
│   ├── Conflict           the current state does not allow the request
│   │   ├── DuplicateRequest   the idempotency key was used before, with the same content
│   │   └── KeyReused          the idempotency key was used before, with other content
│   └── InvalidFile        the content of a file is invalid; has a line for each problem
└── SetupError             the server, its schema or the keys are not set up correctly

`events.InvalidEvent` is not part of this tree, because the package `events` does not import this one. It means JSON
that is not a valid event, and is as final as `Permanent`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID


class TallymanError(Exception):
    """The base class of the program's errors.

    `maybe_called`: whether the outside call of an effect may have been made. If False, the call is not in doubt, and
    the retry policy repeats it, also if the other side cannot be asked.
    """

    maybe_called: bool = True


class Transient(TallymanError):
    """A retry can help.

    `retry_after`: seconds from now, given by the other side. The event waits for that time, the attempt does not count,
    and no other call under its concurrency limit begins before.
    """

    retry_after: float | None = None

    def __init__(
        self, message: str = "", *, maybe_called: bool | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        if maybe_called is not None:
            self.maybe_called = maybe_called
        if retry_after is not None:
            self.retry_after = retry_after
            self.maybe_called = bool(maybe_called)


class Busy(Transient):
    """A resource is in use: retry after `delay` seconds. The attempt does not count. No call was made.

    `retry_after`: seconds that the other side of an effect asked to wait.
    """

    maybe_called = False

    def __init__(self, message: str, *, delay: float = 1.0, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.delay = delay


class BadAnswer(Transient):
    """The answer of an effect's other side cannot be read. The call may have been made."""


class Permanent(TallymanError):
    """A retry cannot help."""


class FailingEvents(Permanent):
    """A handler names the events of its list that cannot be applied, which saves a bisection of the list.

    `reasons`: the reason by event id.
    """

    def __init__(self, reasons: Mapping[UUID, str]) -> None:
        super().__init__("; ".join(f"{event_id}: {why}" for event_id, why in reasons.items()))
        self.reasons = reasons


class ReusedId(Permanent):
    """Two different events have the same id. The message names the type and the remedy."""


class NotCalled(Permanent):
    """An effect failed before anything was sent. A retry need not query the other side."""

    maybe_called = False


class InDoubt(Permanent):
    """An outside call may have been made, and the other side cannot be asked. An operator must decide."""


class InvalidInput(TallymanError):
    """The request is wrong. The message names the field and the remedy."""


class NotFound(InvalidInput):
    """Not found, or owned by another tenant (not distinguished on purpose)."""


class Forbidden(InvalidInput):
    """A person may see the object, but not do this with it. The message names the missing right."""


class Conflict(InvalidInput):
    """The current state does not allow the request."""


class DuplicateRequest(Conflict):
    """The idempotency key was used before, with the same content. `job_id`: the existing job."""

    def __init__(self, key: str, job_id: UUID) -> None:
        super().__init__(f"idempotency key {key!r} was used before: job {job_id} is this very request")
        self.key = key
        self.job_id = job_id


class KeyReused(Conflict):
    """The idempotency key was used before, with other content. `job_id`: the existing job.

    `content`: the parts of a request that distinguish it, for the message.
    """

    def __init__(self, key: str, job_id: UUID, content: str | None = None) -> None:
        other = f" ({content})" if content else ""
        super().__init__(
            f"idempotency key {key!r} belongs to job {job_id}, which has other content{other};"
            " choose a new key for a new request"
        )
        self.key = key
        self.job_id = job_id


class InvalidFile(InvalidInput):
    """The content of a file is invalid. `problems`: one line each, e.g. `line 7: city: must not be empty`."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class SetupError(TallymanError):
    """The server, its schema or the keys are not set up correctly. The message has the remedy."""
