"""`coverage`: import a file and look cities up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.conftest import Run

CSV = """city,department,carrier_city,is_active
Medellín,Antioquia,MEDELLIN (ANT),
San Pedro,Antioquia,SAN PEDRO (ANT),yes
San Pedro,Sucre,SAN PEDRO (SUC),true
Mitú,Vaupés,MITU (VAU),no
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with four places, one of them inactive."""
    path = tmp_path / "coverage.csv"
    path.write_text(CSV)
    return path


def test_a_file_is_imported_and_looked_up(run: Run, file: Path) -> None:
    """No workspace is needed."""
    (done,) = run("coverage", "import", file, "--json").rows
    assert done == {"created": 4, "updated": 0, "unchanged": 0, "bad": 0, "problems": []}
    assert run("coverage", "import", file).out.splitlines() == ["created\t0", "updated\t0", "unchanged\t4", "bad\t0"]
    (found,) = run("coverage", "find", "MEDELLIN", "--department", "antioquia", "--json").rows
    assert (found["verdict"], found["carrier_city"]) == ("covered", "MEDELLIN (ANT)")


@pytest.mark.parametrize(
    ("city", "verdict", "words"),
    [
        ("san pedro", "ambiguous", "name one of Antioquia, Sucre"),
        ("mitu", "not_covered", "does not serve 'mitu'"),
        ("medelin", "not_covered", "similar: Medellín"),
    ],
)
def test_a_city_that_is_not_covered_is_an_answer(run: Run, file: Path, city: str, verdict: str, words: str) -> None:
    """With its reason and exit code 0."""
    run("coverage", "import", file)
    done = run("coverage", "find", city, "--json")
    assert (done.code, done.rows[0]["verdict"]) == (0, verdict)
    assert words in done.rows[0]["reason"]


def test_a_bad_row_is_reported_and_nothing_is_imported(run: Run, tmp_path: Path) -> None:
    """With --skip-bad the good rows are imported."""
    path = tmp_path / "coverage.csv"
    path.write_text("city,department,carrier_city\nCali,Valle,CALI\nTunja,,TUNJA\nCali,Valle,CALI 2\n")
    done = run("coverage", "import", path, "--carrier", "dhl")
    problems = ["line 3: department: must not be empty", "line 4: city: Cali, department: Valle is on line 2 already"]
    assert (done.code, [line.strip() for line in done.err.splitlines()[1:]]) == (2, problems)
    assert run("coverage", "find", "cali", "--carrier", "dhl", "--json").rows[0]["verdict"] == "not_covered"
    done = run("coverage", "import", path, "--carrier", "dhl", "--skip-bad")
    assert (done.code, done.out.splitlines()[0], done.err.splitlines()) == (0, "created\t1", problems)
