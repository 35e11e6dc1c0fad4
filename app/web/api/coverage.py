"""Coverage: the cities that a carrier serves, which all workspaces share."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from app.logistics import coverage
from app.logistics.coverage import CoverageRow
from app.logistics.files import read_csv
from app.web.access import CurrentOperator, Pool
from app.web.answers import View
from app.web.openapi import problems_of
from app.web.uploads import NAME, CsvFile, SkipBad, body

router = APIRouter(prefix="/v1", tags=["coverage"])

_EXAMPLE = "city,department,carrier_city\nMedellín,Antioquia,MEDELLIN (ANT)\n"
Carrier = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="The carrier's name.")]


class ImportedCoverage(View):
    """The result of an import: counts of new, changed, unchanged and invalid rows."""

    created: int
    updated: int
    unchanged: int
    bad: int
    problems: list[str]


@router.post("/coverage/{carrier}/import", responses=problems_of(403, 415), openapi_extra=body(_EXAMPLE))
def import_coverage(
    carrier: Carrier,
    _operator: CurrentOperator,
    file: CsvFile,
    pool: Pool,
    skip_bad: SkipBad = False,  # noqa: FBT002 - a parameter of the request
) -> ImportedCoverage:
    """Import the cities that a carrier serves, replacing existing ones: all rows or none. For operators.

    Columns: city, department, carrier_city. Optional: is_active.
    """
    rows = read_csv(file, CoverageRow, unique=("city", "department"), skip_bad=skip_bad, name=NAME)
    with pool.connection() as connection:
        done = coverage.import_coverage(connection, carrier, rows)
    counts = {"created": done.created, "updated": done.updated, "unchanged": done.unchanged}
    return ImportedCoverage.model_validate({**counts, "bad": rows.bad, "problems": rows.problems})
