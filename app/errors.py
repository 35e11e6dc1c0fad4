"""Every error that the program raises on purpose.

TallymanError
├── Transient              try again later
│   ├── Busy               somebody else holds what is needed: not even an attempt is spent
│   └── BadAnswer          an effect's other side answered what cannot be read
├── Permanent              trying again cannot help
│   ├── NotCalled          an effect failed before anything went out
│   ├── ReusedId           two different events have one id
│   ├── GuiltyEvents       a handler names the events of its list that cannot be applied
│   └── InDoubt            an outside call may have happened, and the other side cannot be asked
├── InvalidInput           what somebody asked for is wrong: exit code 2, HTTP 4xx
│   ├── NotFound           no such thing, or not yours: the two are told apart by nobody
│   ├── Conflict           the state of things forbids it now
│   │   ├── DuplicateRequest   the idempotency key was used before, for the same content
│   │   └── KeyReused          the idempotency key was used before, for other content
│   └── InvalidFile        a file is not what it should be; carries a line a problem
└── SetupError             the server, its schema or the keys are not as they must be

`events.InvalidEvent` stands beside them, because the package `events` knows nothing of this one: JSON that is no event
of this program, as final as a `Permanent`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID


class TallymanError(Exception):
    """The root of the tree.

    `maybe_called`: whether the outside call that an effect was making may have been made. An error that says no is
    no doubt: the call is made again by the retry policy, also where the other side cannot be asked.
    """

    maybe_called: bool = True


class Transient(TallymanError):
    """Trying again later can help.

    `retry_after`: the other side said when, in seconds from now. The event waits for as long, which spends no attempt,
    and no other call under its concurrency limit is begun before.
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
    """What is needed is taken; come back after `delay` seconds, no attempt is spent. Nothing was called.

    With `retry_after`, the other side of an effect said so.
    """

    maybe_called = False

    def __init__(self, message: str, *, delay: float = 1.0, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.delay = delay


class BadAnswer(Transient):
    """The other side of an effect answered something that cannot be read; the call may have been made."""


class Permanent(TallymanError):
    """Trying again cannot help."""


class FailingEvents(Permanent):
    """Names the events of a handler's list that cannot be applied, so that the others need not be searched.

    `reasons` maps an event's id to why.
    """

    def __init__(self, reasons: Mapping[UUID, str]) -> None:
        super().__init__("; ".join(f"{event_id}: {why}" for event_id, why in reasons.items()))
        self.reasons = reasons


class ReusedId(Permanent):
    """Two different events have one id; the message names the type and says what gives each its own."""


class NotCalled(Permanent):
    """An effect failed before anything went out: the next attempt need not ask whether it happened."""

    maybe_called = False


class InDoubt(Permanent):
    """An outside call may have happened and nobody can be asked; a person must decide."""


class InvalidInput(TallymanError):
    """What was asked for is wrong; the message names the field and the remedy."""


class NotFound(InvalidInput):
    """There is no such thing, or it belongs to somebody else."""


class Conflict(InvalidInput):
    """The state of things forbids it now."""


class DuplicateRequest(Conflict):
    """The idempotency key was used before, for the same request; `job_id` is what it made."""

    def __init__(self, key: str, job_id: UUID) -> None:
        super().__init__(f"idempotency key {key!r} was used before: job {job_id} is this very request")
        self.key = key
        self.job_id = job_id


class KeyReused(Conflict):
    """The idempotency key was used before, for another request; `job_id` is what that one made.

    `content` names what tells two requests apart.
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
    """A file is not what it should be; `problems` has a line each, e.g. `line 7: city: must not be empty`."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class SetupError(TallymanError):
    """The server, its schema or the keys are not as they must be; the message says what to do."""
