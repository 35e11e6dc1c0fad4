"""The laws of the portals' records: an item is entered once, for its own workspace, and has the number it got.

One limit is known and documented: a worker that is stopped (SIGSTOP) between its last check of the lease and the first
byte of the request, for longer than the timeout, the rescue and the portal's grace period together, sends the request
when it continues, although another worker has entered the order by then. No lease on the client's side can prevent
that. An order with two entries counts as this limit, not as a violation, only if all of these hold: a freeze was long
enough, the call was in progress in the frozen worker, and an entry followed right after the worker continued.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

import httpx
from psycopg.rows import dict_row

from app.chaos.fault_context import Freeze
from app.chaos.model import Model
from app.chaos.report import Violation
from app.chaos.stage import PORTAL_SETTLE_S, PORTAL_TIMEOUT_S, SLOW_MS
from app.context import Connection
from app.logistics.rules import request_id

LONG_ENOUGH = timedelta(seconds=PORTAL_SETTLE_S)
"""Shorter freezes cannot cause a second entry: other workers wait this long before they query the portal. A frozen
worker counts as dead at once if its session ends."""
_RIGHT_AFTER = timedelta(seconds=PORTAL_TIMEOUT_S + SLOW_MS / 1000)

_ITEMS = """
SELECT i.id, i.order_id, i.status, i.tracking_number, i.error_type, i.retry_count, j.workspace_id
  FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An order in a portal's record: item and attempt from its reference, and the account."""

    item_id: UUID
    attempt: int
    tracking_number: str
    account: str
    accepted_at: datetime
    began_at: datetime
    """When the call arrived at the portal."""

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> Self:
        """Parse one line of the portal's record."""
        item_id, _, attempt = line["reference"].rpartition("-")
        accepted_at, began_at = (datetime.fromisoformat(line[name]) for name in ("accepted_at", "began_at"))
        return cls(UUID(item_id), int(attempt), line["tracking_number"], line["account"], accepted_at, began_at)


@dataclass(slots=True)
class Findings:
    """Violations in the records, and cases of the known limit."""

    violations: list[Violation] = field(default_factory=list)
    known_limits: list[str] = field(default_factory=list)


def read_books(portal_url: str) -> list[Entry]:
    """Return all orders that the portal accepted."""
    lines = httpx.get(f"{portal_url}/record/orders", timeout=60, trust_env=False).raise_for_status().iter_lines()
    return [Entry.read(httpx.Response(200, text=line).json()) for line in lines if line]


def check(
    connection: Connection,
    model: Model,
    entries: Sequence[Entry],
    accounts: Mapping[UUID, str],
    freezes: Sequence[Freeze],
) -> Findings:
    """Check the portals' records against the items of a quiet database."""
    items = {row["id"]: row for row in connection.cursor(row_factory=dict_row).execute(_ITEMS)}
    books: defaultdict[UUID, list[Entry]] = defaultdict(list)
    for entry in entries:
        books[entry.item_id].append(entry)
    findings = Findings(violations=[*_foreign_entries(items, entries, accounts), *_numbers(model, items, books)])
    for item_id, twice in books.items():
        if len(twice) > 1:
            _judge(findings, item_id, twice, freezes)
    return findings


def _judge(findings: Findings, item_id: UUID, twice: Sequence[Entry], freezes: Sequence[Freeze]) -> None:
    what = ", ".join(
        f"attempt {one.attempt} at {one.accepted_at:%H:%M:%S.%f} as {one.tracking_number}" for one in twice
    )
    if (freeze := _late_call(twice, freezes)) is not None:
        frozen = f"worker {freeze.pid} was frozen with the call in hand, {freeze.began:%H:%M:%S.%f} to {freeze.ended}"
        findings.known_limits.append(f"item {item_id} was entered {len(twice)} times ({what}): {frozen}")
    else:
        findings.violations.append(Violation("an item is entered into the portal once", f"item {item_id}: {what}"))


def _late_call(twice: Sequence[Entry], freezes: Iterable[Freeze]) -> Freeze | None:
    """Return the freeze that explains a second entry of an item; None without one, or for more than two entries."""
    if len(twice) > 2:  # noqa: PLR2004 - one zombie makes one extra entry
        return None
    for freeze in freezes:
        if freeze.ended - freeze.began >= LONG_ENOUGH and any(is_late_call(entry, freeze) for entry in twice):
            return freeze
    return None


def is_late_call(entry: Entry, freeze: Freeze) -> bool:
    """Return whether a frozen worker had this call in progress and sent it right after it continued."""
    in_hand = request_id(entry.item_id, entry.attempt) in freeze.calls
    return in_hand and freeze.ended <= entry.accepted_at <= freeze.ended + _RIGHT_AFTER


def _foreign_entries(
    items: Mapping[UUID, Mapping[str, Any]], entries: Iterable[Entry], accounts: Mapping[UUID, str]
) -> Iterator[Violation]:
    for entry in entries:
        item = items.get(entry.item_id)
        if item is None:
            yield Violation("only items that exist are entered", f"{entry}")
        elif accounts[item["workspace_id"]] != entry.account:
            yield Violation("an item is entered in its own workspace's name", f"{entry}, item {dict(item)}")
        elif entry.attempt > item["retry_count"]:
            yield Violation("no attempt is made that nobody asked for", f"{entry}, item {dict(item)}")


def _numbers(
    model: Model, items: Mapping[UUID, Mapping[str, Any]], books: Mapping[UUID, Sequence[Entry]]
) -> Iterator[Violation]:
    """An item's number is a portal's number for its order, or that of a foreign result."""
    of_orders: dict[UUID, set[str]] = {}
    for item_id, item in items.items():
        of_orders.setdefault(item["order_id"], set()).update(one.tracking_number for one in books.get(item_id, ()))
    for item in items.values():
        numbers = of_orders[item["order_id"]]
        number = item["tracking_number"]
        if item["status"] == "success" and number not in numbers and number not in model.tracking_numbers:
            yield Violation(
                "a success has the portal's number", f"item {dict(item)}, the portal has {numbers or 'none'}"
            )
