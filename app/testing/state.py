"""State: the comparable content of a database, and the description of differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import ndiff
from pprint import pformat
from uuid import UUID

from psycopg.rows import scalar_row

from app.context import Connection
from app.testing.published import Found

_MOST_LINES = 30
_CALLS = "SELECT event_id FROM engine.calls"
_DEATHS = """
SELECT format('dead: %s: %s', job_type, error_class) FROM engine.failed_jobs WHERE resolved_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class State:
    """Rows of each table as JSON texts, number of events by place and type, and the value the test observed."""

    rows: Mapping[str, Counter[str]]
    events: Counter[str]
    seen: object

    def differences(self, other: State) -> list[str]:
        """Return the differences as lines: `-` only in this state, `+` only in the other."""
        names = sorted({*self.rows, *other.rows})
        parts = {name: (self.rows.get(name, Counter()), other.rows.get(name, Counter())) for name in names}
        parts["events"] = (self.events, other.events)
        lines = [line for name, (mine, theirs) in parts.items() for line in _compare(name, mine, theirs)]
        return lines if self.seen == other.seen else [*lines, "observed", *_contrast(self.seen, other.seen)]


def snapshot(connection: Connection, found: Sequence[Found], rows: Mapping[str, Counter[str]], seen: object) -> State:
    """Return the current state. `found`: its events, `rows`: the tables' rows, `seen`: the value the test observed."""
    events = Counter(f"{one.place}: {one.type}" for one in found if one.place != "dead")
    events.update(connection.cursor(row_factory=scalar_row).execute(_DEATHS))
    events.update("under way: a call" for _ in connection.execute(_CALLS))
    return State(rows, events, deepcopy(seen))  # the test may change the value later


def misplaced(found: Sequence[Found], ids: Collection[UUID], *, repeated: Collection[UUID] = ()) -> list[str]:
    """Return a line for each event of `found` in a wrong place. Empty after every commit of correct code.

    Each event of `ids` must be in exactly one place; those that are `repeated` may be in several. Other events that one
    of `ids` causes exist only if it was applied.
    """
    places: dict[UUID, list[str]] = {event_id: [] for event_id in ids}
    for one in found:
        if one.id in places:
            places[one.id].append(one.place)
    once = {event_id: at for event_id, at in places.items() if event_id not in repeated}
    return [*_lost(places), *_doubled(once), *_premature(found, places)]


def _lost(places: Mapping[UUID, Sequence[str]]) -> list[str]:
    return [
        f"event {event_id} is lost: neither waiting, nor applied, nor dead" for event_id, at in places.items() if not at
    ]


def _doubled(places: Mapping[UUID, Sequence[str]]) -> list[str]:
    return [f"event {event_id} is at two places: {' and '.join(at)}" for event_id, at in places.items() if len(at) > 1]


def _premature(found: Sequence[Found], places: Mapping[UUID, Sequence[str]]) -> list[str]:
    return [
        f"{one.type} {one.id} is {one.place}, though the event that it follows from was not applied"
        for one in found
        if one.causation_id is not None
        and one.id not in places  # the copy of an edited dead letter names it as its cause
        and "applied" not in places.get(one.causation_id, ["applied"])
    ]


def _contrast(mine: object, theirs: object) -> list[str]:
    lines = ndiff(pformat(mine).splitlines(), pformat(theirs).splitlines())
    return [f"  {line}" for line in lines if line[0] in "-+"]


def _compare(name: str, mine: Counter[str], theirs: Counter[str]) -> list[str]:
    lines = [
        *(f"  - {text}" for text in (mine - theirs).elements()),
        *(f"  + {text}" for text in (theirs - mine).elements()),
    ]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"  … and {len(lines) - _MOST_LINES} more"]
    return [name, *lines] if lines else []
