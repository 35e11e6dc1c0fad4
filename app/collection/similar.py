"""Suggest sellers that may be one. Nothing is merged here.

Comparing every pair takes time that grows with the square of the number of sellers. So only sellers are compared that
share a beginning of three letters of some word; spelling differences that change the beginning of every word are
missed. The similarity is rapidfuzz's ratio of the sorted words, from 0 to 100.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from uuid import UUID

from psycopg.rows import class_row
from rapidfuzz import fuzz

from app.context import Context
from app.errors import InvalidInput

LEAST = 88
"""The default least similarity of a suggestion, in percent."""
_BEGINNING = 3
_LARGEST_GROUP = 2_000
"""Most sellers that share a beginning. A longer group, such as of names with "store", is left out: it tells nothing."""

_ALL = """
SELECT id, display_name, normalized_name, platform, times_seen FROM collection.sellers
 WHERE org_id = %s AND merged_into_id IS NULL ORDER BY normalized_name, id
"""


@dataclass(frozen=True, slots=True)
class Name:
    """A seller's names, and the number of runs in which it was seen."""

    id: UUID
    display_name: str
    normalized_name: str
    platform: str
    times_seen: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sellers that may be one. `kept`: the one that was seen in more runs. `percent`: their similarity."""

    kept: Name
    other: Name
    percent: float


def similar(context: Context, *, least: float = LEAST, limit: int = 100) -> list[Pair]:
    """Return pairs of the organisation's sellers whose names are similar, most similar first, at most `limit`.

    `least`: the least similarity in percent. Raises `InvalidInput`.
    """
    if not 0 < least <= 100:  # noqa: PLR2004 - a percentage
        raise InvalidInput(f"least: must be above 0 and at most 100, not {least:g}")
    names = context.connection.cursor(row_factory=class_row(Name)).execute(_ALL, [context.tenant_id]).fetchall()
    return pairs(names, least)[:limit]


def pairs(names: Sequence[Name], least: float) -> list[Pair]:
    """Return the pairs of similar names, most similar first, then by name."""
    found = [
        _pair(one, other, percent)
        for one, other in _candidates(names)
        if (percent := fuzz.token_sort_ratio(one.normalized_name, other.normalized_name, score_cutoff=least))
    ]
    return sorted(found, key=lambda pair: (-pair.percent, pair.kept.normalized_name, pair.other.normalized_name))


def _candidates(names: Iterable[Name]) -> Iterator[tuple[Name, Name]]:
    groups: dict[tuple[str, str], list[Name]] = defaultdict(list)
    for name in names:
        for beginning in {word[:_BEGINNING] for word in name.normalized_name.split()}:
            groups[name.platform, beginning].append(name)
    seen: set[tuple[UUID, UUID]] = set()
    for group in groups.values():
        if len(group) <= _LARGEST_GROUP:
            for one, other in combinations(group, 2):
                if (one.id, other.id) not in seen:
                    seen.add((one.id, other.id))
                    yield one, other


def _pair(one: Name, other: Name, percent: float) -> Pair:
    kept, merged = sorted((one, other), key=lambda name: (-name.times_seen, name.normalized_name))
    return Pair(kept, merged, round(percent, 1))
