"""Coverage: the cities that a carrier serves, and the carrier's spelling of each.

A city is found by the name that a customer typed, without regard to accents, case and punctuation. Several cities can
share a name. If the department does not identify one of them, the result is `Ambiguous`.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from anyascii import anyascii
from psycopg.rows import class_row, scalar_row
from pydantic import BaseModel, ConfigDict

from app.context import Connection
from app.logistics.fields import Word, carrier_name
from events import new_id

MOST_SIMILAR = 3


class CoverageRow(BaseModel):
    """A row of a coverage file. `carrier_city`: the exact text that the portal expects. `is_active`: still served."""

    model_config = ConfigDict(extra="forbid")

    city: Word
    department: Word
    carrier_city: Word
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Covered:
    """A city that the carrier serves. `carrier_city`: the carrier's spelling."""

    city: str
    department: str
    carrier_city: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """The carrier serves several cities with that name."""

    city: str
    department: str | None
    carrier: str
    places: tuple[Covered, ...]

    @property
    def reason(self) -> str:
        """The reason why the city cannot be used, in one line."""
        departments = sorted({one.department for one in self.places})
        if len(departments) > 1:
            named = ", ".join(departments)
            return f"city: {self.carrier} serves {self.city!r} in several departments; name one of {named}"
        entries = ", ".join(sorted({one.carrier_city for one in self.places}))
        return (
            f"city: {self.carrier}'s coverage has several entries for {self.city!r}: {entries}; keep one of them active"
        )


@dataclass(frozen=True, slots=True)
class NotCovered:
    """The carrier does not serve the city.

    `elsewhere`: its cities of that name in other departments. `similar`: similar names that it serves, at most three.
    """

    city: str
    department: str | None
    carrier: str
    elsewhere: tuple[Covered, ...] = ()
    similar: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """The reason why the city cannot be used, in one line."""
        where = f"{self.city!r} in {self.department!r}" if self.department else repr(self.city)
        hint = ""
        if self.elsewhere:
            hint = f"; it serves it in {', '.join(sorted({one.department for one in self.elsewhere}))}"
        elif self.similar:
            hint = f"; similar: {', '.join(self.similar)}"
        return f"city: {self.carrier} does not serve {where}{hint}"


Verdict = Covered | Ambiguous | NotCovered


@dataclass(frozen=True, slots=True)
class CoverageImported:
    """Counts of rows of an import."""

    created: int
    updated: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class _Found:
    """A served city whose name matches query number `n`."""

    n: int
    city: str
    department: str
    carrier_city: str
    in_department: bool


_INCOMING = """
CREATE TEMP TABLE incoming_coverage (
    line bigint, id uuid, city text, department text, carrier_city text, is_active boolean
) ON COMMIT DROP
"""
_COPY = "COPY incoming_coverage FROM STDIN"
_TAKE_IN = """
WITH places AS (
    SELECT DISTINCT ON (city, department) * FROM incoming_coverage ORDER BY city, department, line DESC
), written AS (
    INSERT INTO logistics.carrier_coverage AS c (id, carrier, city, department, carrier_city, is_active)
    SELECT id, %s, city, department, carrier_city, is_active FROM places
        ON CONFLICT (carrier, city, department) DO UPDATE
       SET carrier_city = excluded.carrier_city, is_active = excluded.is_active
     WHERE (c.carrier_city, c.is_active) IS DISTINCT FROM (excluded.carrier_city, excluded.is_active)
    RETURNING id
), counted AS (
    SELECT count(*) AS written, count(places.id) AS created FROM written LEFT JOIN places USING (id)
)
SELECT created, written - created AS updated, (SELECT count(*) FROM places) - written AS unchanged FROM counted
"""
_FIND = """
SELECT asked.n, c.city, c.department, c.carrier_city,
       c.department_key = logistics.place_key(asked.department) AS in_department
  FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS asked (city, department, n)
  JOIN logistics.carrier_coverage c ON c.carrier = %s AND c.city_key = logistics.place_key(asked.city) AND c.is_active
 ORDER BY asked.n, c.department, c.carrier_city
"""
_NAMES = "SELECT DISTINCT city FROM logistics.carrier_coverage WHERE carrier = %s AND is_active ORDER BY city"


def import_coverage(connection: Connection, carrier: str, rows: Iterable[CoverageRow]) -> CoverageImported:
    """Import a carrier's coverage, which all workspaces share. Cities that `rows` does not contain stay unchanged.

    Of two rows with the same city and department the later one wins. An error raised by `rows` rolls the import back.
    Raises `InvalidInput` for an invalid carrier name.
    """
    carrier = carrier_name(carrier)
    with connection.transaction(), connection.cursor(row_factory=class_row(CoverageImported)) as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.incoming_coverage")
        cursor.execute(_INCOMING)
        with cursor.copy(_COPY) as copy:
            for line, row in enumerate(rows):
                copy.write_row((line, new_id(), row.city, row.department, row.carrier_city, row.is_active))
        done = cursor.execute(_TAKE_IN, [carrier]).fetchone()
    if done is None:
        raise AssertionError("a count has one row")
    return done


def find_city(connection: Connection, carrier: str, city: str, department: str | None = None) -> Verdict:
    """Return whether a carrier serves a city that a customer typed; if not, with similar names that it serves."""
    carrier = carrier_name(carrier)
    verdict = find_cities(connection, carrier, [(city, department)])[0]
    if isinstance(verdict, NotCovered) and not verdict.elsewhere:
        return replace(verdict, similar=_similar(connection, carrier, city))
    return verdict


def find_cities(connection: Connection, carrier: str, asked: Sequence[tuple[str, str | None]]) -> list[Verdict]:
    """Return whether a carrier serves each (city, department), in order. Runs one statement."""
    cities, departments = [city for city, _ in asked], [department for _, department in asked]
    cursor = connection.cursor(row_factory=class_row(_Found))
    found: dict[int, list[_Found]] = defaultdict(list)
    for row in cursor.execute(_FIND, [cities, departments, carrier]):
        found[row.n].append(row)
    return [_verdict(carrier, *one, found[n]) for n, one in enumerate(asked, start=1)]


def _verdict(carrier: str, city: str, department: str | None, found: Sequence[_Found]) -> Verdict:
    department = department if department and department.strip() else None
    matching = [one for one in found if one.in_department or department is None]
    if not matching:
        return NotCovered(city, department, carrier, _places(found))
    # Two entries with one portal text are one city: Bogotá is listed as its own department and under Cundinamarca.
    if len({one.carrier_city for one in matching}) > 1:
        return Ambiguous(city, department, carrier, _places(matching))
    return Covered(matching[0].city, matching[0].department, matching[0].carrier_city)


def _places(found: Iterable[_Found]) -> tuple[Covered, ...]:
    return tuple(Covered(one.city, one.department, one.carrier_city) for one in found)


def _similar(connection: Connection, carrier: str, city: str) -> tuple[str, ...]:
    served = connection.cursor(row_factory=scalar_row).execute(_NAMES, [carrier])
    names = {anyascii(name).casefold(): name for name in served}
    close = difflib.get_close_matches(anyascii(city).casefold(), names, n=MOST_SIMILAR, cutoff=0.75)
    return tuple(names[one] for one in close)
