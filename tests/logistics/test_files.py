"""CSV files: each kind of mistake has its own message, and no file is imported in part."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from app.errors import InvalidFile
from app.logistics import files
from app.logistics.fields import OptionalWord, Word
from app.logistics.files import Rows, read_csv


class Crate(BaseModel):
    """The model of a row."""

    mark: Word
    units: int = Field(default=1, gt=0)
    note: OptionalWord = None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a test's file."""
    return tmp_path / "crates.csv"


def rows(path: Path, content: str | bytes, *, skip_bad: bool = False) -> Rows[Crate]:
    """Write a file and read its rows."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(path, Crate, unique=("mark",), skip_bad=skip_bad)


def refused(path: Path, content: str | bytes) -> InvalidFile:
    """Return the error of a file with this content."""
    with pytest.raises(InvalidFile) as caught:
        list(rows(path, content))
    return caught.value


def test_each_row_becomes_a_model(path: Path) -> None:
    """Columns come in any order and case. Optional ones may be missing, and empty cells count as missing."""
    assert list(rows(path, "Units, MARK \n3,A\n,B\n")) == [Crate(mark="A", units=3), Crate(mark="B")]


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfmark\nA\n", b"mark\r\nA\r\n", b"mark\n\n\nA", b'"mark"\n"A"'])
def test_files_of_common_programs_are_read(path: Path, content: bytes) -> None:
    """Byte order mark, either line ending, blank lines, quotes, no line break at the end."""
    assert list(rows(path, content)) == [Crate(mark="A")]


def test_text_comes_on_one_line(path: Path) -> None:
    """White space is trimmed, and a line break in a cell becomes a space."""
    assert [row.note for row in rows(path, 'mark,note\nA,"  two \r\n lines "\nB,"  "\n')] == ["two lines", None]


def test_a_wrong_header_is_refused(path: Path) -> None:
    """Missing, unknown and repeated columns are named, with the known ones."""
    error = refused(path, "units,colour,units\n1,red,2\n")
    assert error.problems == (
        "line 1: column mark is missing",
        "line 1: column 'colour' is unknown",
        "line 1: column units is there twice",
    )
    assert "the header must name mark, and may name units, note" in str(error)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_recognised(path: Path, separator: str) -> None:
    """The error names the separator, not missing columns."""
    assert f"separated by {separator!r}" in str(refused(path, f"mark{separator}units\nA{separator}1\n"))


@pytest.mark.parametrize(
    ("content", "words"), [("", "the file is empty"), ("mark\n", "no row"), ("mark\n\n", "no row")]
)
def test_an_empty_file_is_refused(path: Path, content: str, words: str) -> None:
    """So is a header without rows."""
    assert words in str(refused(path, content))


def test_another_encoding_names_the_byte_and_the_remedy(path: Path) -> None:
    """The line, the byte, and how to convert the file."""
    error = refused(path, "mark\nA\nCúcuta\n".encode("latin-1"))
    assert "line 3, byte 2: 0xFA is not UTF-8; save the file as 'CSV UTF-8'" in str(error)


@pytest.mark.parametrize("content", [b"mark\nA\0B\n", "mark\nA\n".encode("utf-16")])
def test_a_nul_byte_is_refused(path: Path, content: bytes) -> None:
    """The file is probably UTF-16."""
    assert "a NUL byte, so this is not UTF-8" in str(refused(path, content))


def test_a_huge_line_is_refused(path: Path) -> None:
    """It is not read into memory."""
    assert "line 2 is longer than" in str(refused(path, b"mark\n" + b"x" * (1 << 21)))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """So is a directory."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InvalidFile, match="cannot be read"):
            list(read_csv(path, Crate))


def test_all_bad_rows_are_reported(path: Path) -> None:
    """One line for each, with all its wrong fields."""
    error = refused(path, 'mark,units\nA,0\n"B\nC",1,2\n,x\nD,1.5\nA,1\nE,2\n')
    assert error.problems == (
        "line 2: units: must be greater than 0",
        "line 3: 3 values for 2 columns; a value with a comma needs quotes",
        "line 5: mark: must not be empty; units: must be a valid integer",
        "line 6: units: must be a valid integer",
    )
    assert "4 rows are bad, so none was taken" in str(error)


def test_a_repeated_row_names_both_lines(path: Path) -> None:
    """White space makes no difference."""
    assert refused(path, "mark\nA\nB\n A \n").problems == ("line 4: mark: A is on line 2 already",)


def test_a_quote_that_is_not_closed_is_one_problem(path: Path) -> None:
    """With the line on which it opens."""
    (problem,) = refused(path, 'mark\nA\n"B\nC\n').problems
    assert problem.startswith("line 3: is not CSV")


def test_a_control_character_is_a_problem_of_its_row(path: Path) -> None:
    """A portal would not accept it."""
    assert refused(path, "mark\nA\nB\x07C\n").problems == ("line 3: mark: must not hold control characters",)


def test_a_thousand_problems_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of further ones only the number."""
    monkeypatch.setattr(files, "MOST_PROBLEMS", 3)
    error = refused(path, "mark,units\n" + "A,0\n" * 10)
    assert error.problems[-2:] == ("line 4: units: must be greater than 0", "and 7 more")
    assert "10 rows are bad" in str(error)


def test_bad_rows_can_be_skipped(path: Path) -> None:
    """They are reported, and nothing is raised."""
    found = rows(path, "mark,units\nA,0\nA,1\nA,2\nB,3\n", skip_bad=True)
    assert [row.units for row in found] == [1, 3]
    assert found.problems == ["line 2: units: must be greater than 0", "line 4: mark: A is on line 3 already"]


def test_no_row_follows_a_bad_one(path: Path) -> None:
    """Later rows would be rolled back anyway."""
    came: list[str] = []
    with pytest.raises(InvalidFile):
        came.extend(row.mark for row in rows(path, "mark,units\nA,1\nB,0\nC,1\n"))
    taken = iter(rows(path, "mark,units\nA,1\nB,0\nC,1\n"))
    assert next(taken).mark == "A"
    with pytest.raises(InvalidFile):
        next(taken)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """No other exception is raised."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    with suppress(InvalidFile):
        assert all(isinstance(row, Crate) for row in rows(path, b"mark,note\n" + content))
