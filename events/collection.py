"""Events about collection runs: products and sellers collected from paid marketplaces under a budget."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from events.base import Payload, event_type

Count = Annotated[int, Field(ge=0)]
Cents = Annotated[int, Field(ge=0, le=2_000_000_000)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Cursor = Annotated[str, StringConstraints(max_length=1000)]
ItemType = Literal["amazon_product", "ebay_seller"]
PauseReason = Literal["user", "budget", "overrun", "credentials", "place"]


@event_type("collection/job.submitted")
class JobSubmitted(Payload):
    """A run was created or resumed. It starts if fewer runs of its organisation are running than allowed."""

    run_id: UUID


@event_type("collection/page.requested")
class PageRequested(Payload):
    """A page of a category is requested, or single items of it (`external_ids`). `cost_cents`: the expected price."""

    run_id: UUID
    page_id: UUID
    category_id: Word
    cursor: Cursor
    attempt: Count
    cost_cents: Cents
    external_ids: tuple[Word, ...] | None = None


class FoundItem(Payload):
    """A product or seller of a page, as the marketplace describes it, or the reason why it has no data."""

    marketplace: Word
    item_type: ItemType
    external_id: Word
    data: dict[str, Any] | None = None
    error_code: Word | None = None
    error_message: Text | None = None


@event_type("collection/page.completed")
class PageCompleted(Payload):
    """The result of a request for a page.

    `completed`: the page was charged `cost_cents`, and these are its items. `released`: no call was made and nothing
    was charged; the page waits until its run goes on. `failed`: the page cannot be read; `ends_run`: nor can any other.
    """

    run_id: UUID
    page_id: UUID
    attempt: Count
    status: Literal["completed", "released", "failed"]
    cost_cents: Cents = 0
    next_cursor: Cursor | None = None
    items: tuple[FoundItem, ...] = ()
    ends_run: bool = False
    error_code: Word | None = None
    error_message: Text | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.status == "failed" and self.error_code is None:
            message = "a failed page has an error_code"
            raise ValueError(message)
        if self.status == "released" and (self.cost_cents or self.items):
            message = "a released page has no cost and no items"
            raise ValueError(message)
        return self


@event_type("collection/item.completed")
class ItemCompleted(Payload):
    """An item of a run has a result. `skipped`: it is known not to be wanted; `error_code` is the reason."""

    run_id: UUID
    marketplace: Word
    item_type: ItemType
    external_id: Word
    status: Literal["completed", "failed", "skipped"]
    data: dict[str, Any] | None = None
    cost_cents: Cents = 0
    error_code: Word | None = None
    error_message: Text | None = None

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if self.status != "completed" and self.error_code is None:
            message = f"an item that is {self.status} has an error_code"
            raise ValueError(message)
        return self


@event_type("collection/budget.warned")
class BudgetWarned(Payload):
    """A run has spent its organisation's warning percentage of its cap. Published once a run."""

    run_id: UUID
    spent_cents: Cents
    cap_cents: Cents


@event_type("collection/run.paused")
class RunPaused(Payload):
    """A run was paused, so another one may start."""

    run_id: UUID
    reason: PauseReason
    spent_cents: Cents
    cap_cents: Cents


@event_type("collection/job.completed")
class JobCompleted(Payload):
    """A run has ended. Published once a run."""

    run_id: UUID
    status: Literal["completed", "failed", "cancelled"]
    total_items: Count
    processed_items: Count
    failed_items: Count
    actual_cost_cents: Cents
    overrun_cents: Cents = 0
