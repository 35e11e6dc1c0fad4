"""Settle pages: items, cost, next cursor, checkpoint and reservation in one commit.

A result counts if its page is open and waits for the result's attempt. So each page is charged to its run once, also
if results are delivered twice, late or in another order. Bills count in every state of the run. Only a running run
requests pages.

Lock order: runs by id, pages by id, then items.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog

from app.collection import budget, items, pages, waking
from app.collection.budget import Booked, Entry
from app.collection.chain import Causes, say
from app.collection.items import Found, PageResult
from app.collection.pages import Added, Asked, Outcome, Page
from app.context import HandlerContext
from app.errors import FailingEvents
from events import Event
from events.collection import JobSubmitted, PageCompleted

ACCOUNT_ERRORS = frozenset({"key_refused", "account_unusable"})
"""Error codes of released pages that pause the run: no page can be bought before an operator acts."""
CURSOR_REPEATS = "cursor_repeats"
_REPEATS = "the marketplace's next cursor is that of an earlier page, so the category ends here"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """A result that counts, with the outcome of its page. `following`: the pages to ask for next."""

    result: PageResult
    outcome: Outcome
    following: tuple[Added, ...] = ()

    @property
    def page(self) -> Page:
        """The page as it was before."""
        return self.result.page

    @property
    def is_released(self) -> bool:
        """Whether the page waits again: nothing was charged."""
        return self.outcome.status in {"pending", "cancelled"}

    @property
    def ends_run(self) -> bool:
        """Whether the marketplace said that the run cannot go on."""
        return self.result.data.ends_run and not self.is_released

    @property
    def refuses_account(self) -> bool:
        """Whether the run must wait for its account."""
        return self.is_released and self.outcome.error_code in ACCOUNT_ERRORS


def settle(context: HandlerContext, said: Sequence[tuple[Event[Any], PageCompleted]]) -> list[Event[Any]]:
    """Settle the results of pages in the caller's transaction. Returns the events to publish.

    `said`: results, each with the event that it came with. Late results change nothing. Raises `FailingEvents` for a
    page that does not exist, or is another run's or organisation's.
    """
    locked = pages.lock(context.connection, {data.page_id for _, data in said})
    _refuse_mismatched(locked, said)
    results = list(_counting(locked, said))
    if len(results) < len(said):
        log.info("late page results", late=len(said) - len(results))
    if not results:
        return []
    ending = [one for one in results if _outcome(one).status not in {"pending", "cancelled"}]
    recorded = items.record(context, ending)
    settled = [_settled(one, recorded.again.get(one.page.id, ())) for one in results]
    added = [page for one in settled for page in one.following]
    new = pages.write(context.connection, [one.outcome for one in settled], added)
    settled = _without_repeats(context, settled, new)
    booked = budget.book(context.connection, _entries(settled, recorded.found))
    return [*recorded.follow, *_go_on(context, settled, booked)]


def cancel_pending(
    context: HandlerContext, run_ids: Collection[UUID], causes: Causes | None = None
) -> list[Event[Any]]:
    """Cancel the pending pages of locked runs that have ended, and fail the items that wait for them.

    Pages whose calls have begun keep their reservations until their results are settled. Returns the events to publish.
    """
    cancelled = pages.cancel_pending(context.connection, run_ids) if run_ids else []
    return _give_up(context, cancelled, causes or {})


def _refuse_mismatched(locked: Mapping[UUID, Page], said: Iterable[tuple[Event[Any], PageCompleted]]) -> None:
    mismatched = {
        event.id: f"page {data.page_id} is not of run {data.run_id} of this organisation"
        for event, data in said
        if (page := locked.get(data.page_id)) is None or (page.run_id, page.org_id) != (data.run_id, event.tenantid)
    }
    if mismatched:
        raise FailingEvents(mismatched)


def _counting(locked: Mapping[UUID, Page], said: Iterable[tuple[Event[Any], PageCompleted]]) -> Iterable[PageResult]:
    seen: set[UUID] = set()
    for event, data in said:
        page = locked[data.page_id]
        if page.is_open and page.attempt == data.attempt and page.id not in seen:
            seen.add(page.id)
            yield PageResult(page, data, event)


def _outcome(result: PageResult) -> Outcome:
    page, data = result.page, result.data
    error = (data.error_code, data.error_message)
    # A run that is not running cannot fail. Its page is asked for again when it goes on, and fails the run then.
    is_released = data.status == "released" or (data.ends_run and page.run_status == "paused")
    if is_released and not page.run_has_ended:
        return Outcome(page.id, "pending", page.attempt + 1, 0, None, *error)
    status = "cancelled" if is_released else data.status
    return Outcome(page.id, status, page.attempt, data.cost_cents, data.next_cursor, *error)


def _settled(result: PageResult, again: Sequence[str]) -> Settled:
    page, outcome = result.page, _outcome(result)
    following = [page.again(again)] if again else []
    if outcome.status == "completed" and outcome.next_cursor and not page.external_ids and not page.run_has_ended:
        following.append(page.next(outcome.next_cursor))
    return Settled(result, outcome, tuple(following))


def _without_repeats(context: HandlerContext, settled: list[Settled], new: set[UUID]) -> list[Settled]:
    """End the categories whose next page existed before: the marketplace leads in a circle."""
    circles = [one.page.id for one in settled if any(page.id not in new for page in one.following)]
    if not circles:
        return settled
    pages.flag(context.connection, circles, CURSOR_REPEATS, _REPEATS)
    return [
        Settled(one.result, one.outcome, tuple(page for page in one.following if page.id in new)) for one in settled
    ]


def _entries(settled: Sequence[Settled], found: Mapping[UUID, Found]) -> list[Entry]:
    entries: dict[UUID, Entry] = {}
    for one in settled:
        page, before = one.page, entries.get(one.page.run_id) or _entry(one.page.run_id, found)
        entries[page.run_id] = replace(
            before,
            charged=before.charged + one.outcome.cost_cents,
            released=before.released + page.reserved_cents,
            checkpoint={**before.checkpoint, **_checkpoint(one)},
        )
    return list(entries.values())


def _entry(run_id: UUID, found: Mapping[UUID, Found]) -> Entry:
    new = found.get(run_id, Found())
    return Entry(run_id, 0, 0, new.total, new.processed, new.failed, {})


def _checkpoint(one: Settled) -> dict[str, Any]:
    page = one.page
    if page.external_ids or one.is_released:
        return {}
    following = next((added for added in one.following if added.external_ids is None), None)
    place: dict[str, Any] = {"pages": page.number, "cursor": None, "done": True}
    if following is not None:
        place |= {"cursor": following.cursor, "done": False}
    elif page.run_has_ended and one.outcome.next_cursor:
        place |= {"cursor": one.outcome.next_cursor, "done": False}
    return {page.category_id: place}


def _go_on(context: HandlerContext, settled: Sequence[Settled], booked: Mapping[UUID, Booked]) -> list[Event[Any]]:
    """Pause, fail or complete the runs, or request their next pages. Returns the events to publish."""
    causes: dict[UUID, Event[Any]] = {one.page.run_id: one.result.cause for one in settled}
    running = {one.page.run_id for one in settled if one.page.run_status == "running"}
    follow = budget.warn(context, [one for one in booked.values() if one.must_warn], causes)
    failing = {one.page.run_id: _reason(one) for one in settled if one.ends_run and one.page.run_id in running}
    follow += _fail(context, failing, causes)
    running -= failing.keys()
    over = {one.page.run_id for one in settled if booked[one.page.run_id].overrun > one.page.overrun_cents} & running
    refused = {one.page.run_id for one in settled if one.refuses_account} & running - over
    follow += budget.pause(context, over, "overrun", causes) + budget.pause(context, refused, "credentials", causes)
    running -= over | refused
    asked = {one.page.run_id for one in settled for _ in _requests(one, context, running)}
    follow += [event for one in settled for event in _requests(one, context, running)]
    return follow + budget.finish(context, running - asked, causes) + _wake(context, settled, causes)


def _wake(context: HandlerContext, settled: Sequence[Settled], causes: Causes) -> list[Event[Any]]:
    """Wake runs that were paused for the budget and have room again, because less was charged than reserved."""
    paused = {one.page.run_id: one.page.org_id for one in settled if one.page.run_status == "paused"}
    return [
        say(JobSubmitted(run_id=run_id), context.now, run_id=run_id, org_id=paused[run_id], cause=causes[run_id])
        for run_id in waking.wake(context.connection, paused.keys(), ("budget",), actor=None)
    ]


def _requests(one: Settled, context: HandlerContext, running: Collection[UUID]) -> Iterable[Event[Any]]:
    if one.page.run_id in running:
        if one.outcome.status == "pending":
            yield pages.request(one.page, context.now, one.result.cause, one.outcome.attempt)
        for page in one.following:
            yield pages.request(page, context.now, one.result.cause)


def _reason(one: Settled) -> tuple[str, str | None]:
    return one.outcome.error_code or "source_ended", one.outcome.error_message


def _fail(context: HandlerContext, failing: Mapping[UUID, tuple[str, str | None]], causes: Causes) -> list[Event[Any]]:
    follow = budget.fail(context, failing, causes)
    return follow + cancel_pending(context, failing.keys(), causes)


def _give_up(context: HandlerContext, cancelled: Sequence[Asked], causes: Causes) -> list[Event[Any]]:
    return items.give_up(context, cancelled, "cancelled", "the run ended before the item was asked for again", causes)
