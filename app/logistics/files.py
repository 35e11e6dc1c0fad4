"""Read CSV files as a stream: each valid row as a model, each invalid row as a line with its problem."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from app.errors import InvalidFile
from app.logistics.fields import explain

MOST_PROBLEMS = 1000
"""Most problems that are kept as text. Further problems are only counted."""
_LONGEST_LINE = 1 << 20
_REMEDY = "save the file as 'CSV UTF-8', or convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"

M = TypeVar("M", bound=BaseModel)


@dataclass(slots=True)
class Rows(Generic[M]):
    """The rows of a CSV file. Iterate once; `problems` is complete afterwards. `name`: the file, for messages."""

    path: Path
    model: type[M]
    unique: Sequence[str]
    skip_bad: bool
    name: str
    read: int = 0
    bad: int = 0
    _problems: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """A line for each of the first `MOST_PROBLEMS` invalid rows, and a line with the number of further ones."""
        more = self.bad - len(self._problems)
        return [*self._problems, *([f"and {more} more"] if more else [])]

    def __iter__(self) -> Iterator[M]:
        """Yield the valid rows. Raises `InvalidFile`."""
        with _open(self.path) as file:
            reader = csv.reader(_lines(self.name, file), strict=True)
            columns = self._header(reader)
            yield from self._good(reader, columns)
        if not self.read or (self.bad and not self.skip_bad):
            raise self._verdict()

    def _header(self, reader: Any) -> list[str]:
        """Return the columns of the first line. Raises `InvalidFile` for missing, unknown or duplicate columns."""
        columns = [cell.strip().casefold() for _, cells in self._records(reader, most=1) for cell in cells]
        fields = self.model.model_fields
        missing = [name for name, about in fields.items() if about.is_required() and name not in columns]
        double = sorted({name for name in columns if columns.count(name) > 1})
        self._problems += [f"line 1: column {name} is missing" for name in missing]
        self._problems += [f"line 1: column {name!r} is unknown" for name in columns if name not in fields]
        self._problems += [f"line 1: column {name} is there twice" for name in double]
        if self._problems:
            raise InvalidFile(self._about_header(columns), self._problems)
        return columns

    def _about_header(self, columns: Sequence[str]) -> str:
        if not columns:
            return f"{self.name}: the file is empty"
        if len(columns) == 1 and (separator := next((one for one in ";\t|" if one in columns[0]), None)):
            return f"{self.name}: the columns are separated by {separator!r}; save the file with commas"
        optional = [name for name, about in self.model.model_fields.items() if not about.is_required()]
        required = [name for name in self.model.model_fields if name not in optional]
        return f"{self.name}: the header must name {', '.join(required)}, and may name {', '.join(optional)}"

    def _good(self, reader: Any, columns: Sequence[str]) -> Iterator[M]:
        seen: dict[Any, int] = {}
        for line, cells in self._records(reader):
            self.read += 1
            row = self._row(line, columns, cells)
            if row is not None and self._is_first(line, row, seen) and (self.skip_bad or not self.bad):
                yield row

    def _records(self, reader: Any, *, most: int | None = None) -> Iterator[tuple[int, list[str]]]:
        """Yield each record that is not blank, with the number of its first line."""
        count = 0
        while count != most:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._problem(line, f"is not CSV: {error}; is a quote not closed, or not doubled?")
                continue
            if cells:
                count += 1
                yield line, cells

    def _row(self, line: int, columns: Sequence[str], cells: Sequence[str]) -> M | None:
        if len(cells) != len(columns):
            self._problem(line, f"{len(cells)} values for {len(columns)} columns; a value with a comma needs quotes")
            return None
        try:
            given = {name: cell for name, cell in zip(columns, cells, strict=True) if cell and not cell.isspace()}
            return self.model.model_validate(given)
        except ValidationError as error:
            self._problem(line, explain(error))
            return None

    def _is_first(self, line: int, row: M, seen: dict[Any, int]) -> bool:
        if not self.unique:
            return True
        first = seen.setdefault(attrgetter(*self.unique)(row), line)
        if first != line:
            double = ", ".join(f"{name}: {getattr(row, name)}" for name in self.unique)
            self._problem(line, f"{double} is on line {first} already")
        return first == line

    def _problem(self, line: int, what: str) -> None:
        self.bad += 1
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(f"line {line}: {what}")

    def _verdict(self) -> InvalidFile:
        if not self.bad:
            return InvalidFile(f"{self.name}: there is a header and no row")
        rows = "1 row is" if self.bad == 1 else f"{self.bad} rows are"
        return InvalidFile(f"{self.name}: {rows} bad, so none was taken (--skip-bad takes the others)", self.problems)


def read_csv(
    path: Path, model: type[M], *, unique: Sequence[str] = (), skip_bad: bool = False, name: str | None = None
) -> Rows[M]:
    """Return the rows of a CSV file in UTF-8 as `model` objects. The file is read during the iteration.

    The columns are the model's fields, in any order. Fields with a default are optional. An empty cell counts as
    missing. `unique`: fields whose combined value must differ in all rows. The iteration raises `InvalidFile` at once
    if the file cannot be read or has other columns. For invalid rows it raises at the end, so that the error lists all
    problems; iterate inside a transaction, so that the error rolls back the rows before. `skip_bad`: ignore invalid
    rows instead. `name`: the file in messages; default: its path.
    """
    return Rows(path, model, unique, skip_bad, name or str(path))


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidFile(f"{path}: cannot be read: {error.strerror}") from error


def _lines(name: str, file: BinaryIO) -> Iterator[str]:
    """Yield the lines as text. Lines are decoded one by one, so that an error can name its line."""
    number = 0
    while raw := file.readline(_LONGEST_LINE + 1):
        number += 1
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > _LONGEST_LINE:
            raise InvalidFile(f"{name}: line {number} is longer than {_LONGEST_LINE} bytes: this is no CSV file")
        if b"\0" in raw:
            at = raw.index(b"\0") + 1
            raise InvalidFile(f"{name}: line {number}, byte {at}: a NUL byte, so this is not UTF-8; {_REMEDY}")
        yield _decoded(name, number, raw)


def _decoded(name: str, number: int, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        where = f"line {number}, byte {error.start + 1}"
        raise InvalidFile(f"{name}: {where}: 0x{raw[error.start]:02X} is not UTF-8; {_REMEDY}") from None
