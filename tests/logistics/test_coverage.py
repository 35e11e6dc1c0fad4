"""Coverage: a city in any spelling is found in the carrier's spelling, and never guessed."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.database import as_person
from app.errors import InvalidFile, InvalidInput
from app.logistics.coverage import (
    Ambiguous,
    CoverageImported,
    CoverageRow,
    Covered,
    NotCovered,
    find_cities,
    find_city,
    import_coverage,
)
from tests.helpers import factories

MEDELLIN = CoverageRow(city="Medellín", department="Antioquia", carrier_city="MEDELLIN (ANT)")
SAN_PEDROS = [
    CoverageRow(city="San Pedro", department="Antioquia", carrier_city="SAN PEDRO (ANT)"),
    CoverageRow(city="San Pedro", department="Sucre", carrier_city="SAN PEDRO (SUC)"),
]


@pytest.fixture
def covered(connection: Connection) -> Connection:
    """A database with a carrier that serves Medellín and two places named San Pedro."""
    import_coverage(connection, "coordinadora", [MEDELLIN, *SAN_PEDROS])
    return connection


@pytest.mark.parametrize("typed", ["Medellín", "MEDELLIN", " medellín. ", "Medelli\u0301n", "MEDELLÍN"])
@pytest.mark.parametrize("department", [None, "", "antioquia", " ANTIOQUIA"])
def test_accents_case_and_punctuation_do_not_matter(covered: Connection, typed: str, department: str | None) -> None:
    """In city and department. The department is optional if the name is unique."""
    assert find_city(covered, "coordinadora", typed, department) == Covered("Medellín", "Antioquia", "MEDELLIN (ANT)")


@pytest.mark.parametrize("typed", ["Bogotá", "BOGOTA D.C.", "bogotá dc", "Bogotá, D. C."])
def test_the_capital_has_its_suffix_or_not(connection: Connection, typed: str) -> None:
    """A trailing D.C. is ignored."""
    import_coverage(connection, "dhl", [CoverageRow(city="Bogotá, D.C.", department="Bogotá", carrier_city="BOG")])
    assert isinstance(find_city(connection, "dhl", typed), Covered)


def test_a_name_of_several_departments_needs_one(covered: Connection) -> None:
    """Without it the city is ambiguous, and the departments are listed."""
    verdict = find_city(covered, "coordinadora", "san pedro")
    assert isinstance(verdict, Ambiguous)
    assert (
        verdict.reason == "city: coordinadora serves 'san pedro' in several departments; name one of Antioquia, Sucre"
    )
    assert find_city(covered, "coordinadora", "san pedro", "sucre") == Covered("San Pedro", "Sucre", "SAN PEDRO (SUC)")


def test_a_department_that_does_not_match_is_not_guessed(covered: Connection) -> None:
    """Even if one place has the name. The error names its department."""
    verdict = find_city(covered, "coordinadora", "Medellin", "Chocó")
    assert isinstance(verdict, NotCovered)
    assert verdict.reason == "city: coordinadora does not serve 'Medellin' in 'Chocó'; it serves it in Antioquia"


def test_an_unknown_city_names_similar_ones(covered: Connection) -> None:
    """A person must choose."""
    verdict = find_city(covered, "coordinadora", "Medelin")
    assert isinstance(verdict, NotCovered)
    assert verdict.similar == ("Medellín",)
    assert verdict.reason == "city: coordinadora does not serve 'Medelin'; similar: Medellín"
    assert find_city(covered, "coordinadora", "Xyz") == NotCovered("Xyz", None, "coordinadora")


def test_an_inactive_city_is_not_covered(covered: Connection) -> None:
    """It makes no other city ambiguous."""
    import_coverage(covered, "coordinadora", [SAN_PEDROS[0].model_copy(update={"is_active": False})])
    assert find_city(covered, "coordinadora", "San Pedro") == Covered("San Pedro", "Sucre", "SAN PEDRO (SUC)")
    assert isinstance(find_city(covered, "coordinadora", "San Pedro", "Antioquia"), NotCovered)


def test_one_portal_text_is_one_place(connection: Connection) -> None:
    """Two entries with one `carrier_city` are not ambiguous; with two they are."""
    twins = [CoverageRow(city="Bogotá", department=name, carrier_city="BOG") for name in ("Bogotá", "Cundinamarca")]
    import_coverage(connection, "dhl", twins)
    assert isinstance(find_city(connection, "dhl", "Bogota"), Covered)
    import_coverage(connection, "dhl", [CoverageRow(city="BOGOTA", department="Bogotá", carrier_city="BOGOTA 2")])
    verdict = find_city(connection, "dhl", "Bogota", "Bogotá")
    assert isinstance(verdict, Ambiguous)
    assert "several entries for 'Bogota': BOG, BOGOTA 2" in verdict.reason


def test_many_cities_are_answered_in_their_order(covered: Connection) -> None:
    """One answer for each question, repeated ones included."""
    asked = [("nowhere", None), ("Medellin", None), ("san pedro", None), ("Medellin", None)]
    verdicts = find_cities(covered, "coordinadora", asked)
    assert [type(verdict) for verdict in verdicts] == [NotCovered, Covered, Ambiguous, Covered]
    assert find_cities(covered, "coordinadora", []) == []


def test_carriers_have_their_own_cities(covered: Connection) -> None:
    """Another carrier's cities do not count."""
    assert isinstance(find_city(covered, "dhl", "Medellin"), NotCovered)
    assert isinstance(find_city(covered, "Coordinadora", "Medellin"), Covered)
    with pytest.raises(InvalidInput, match="carrier"):
        find_city(covered, "a carrier!", "Medellin")


def test_an_import_replaces_existing_places(covered: Connection) -> None:
    """It counts new, changed and unchanged ones. Of two rows for one place the later counts."""
    moved = MEDELLIN.model_copy(update={"carrier_city": "MDE"})
    added = CoverageRow(city="Cali", department="Valle", carrier_city="CALI (VAL)")
    done = import_coverage(covered, "coordinadora", [MEDELLIN, added, moved, SAN_PEDROS[0]])
    assert done == CoverageImported(created=1, updated=1, unchanged=1)
    assert find_city(covered, "coordinadora", "Medellín") == Covered("Medellín", "Antioquia", "MDE")


def test_a_failed_import_changes_nothing(covered: Connection) -> None:
    """An error in the rows undoes all of it."""

    def rows() -> object:
        yield MEDELLIN.model_copy(update={"carrier_city": "MDE"})
        raise InvalidFile("bad")

    with pytest.raises(InvalidFile):
        import_coverage(covered, "coordinadora", rows())  # type: ignore[arg-type]
    assert find_city(covered, "coordinadora", "Medellín") == Covered("Medellín", "Antioquia", "MEDELLIN (ANT)")


def test_coverage_is_for_everybody_to_read(covered: Connection) -> None:
    """It belongs to no tenant."""
    with as_person(covered, factories.make_user(covered)):
        assert isinstance(find_city(covered, "coordinadora", "Medellin"), Covered)
