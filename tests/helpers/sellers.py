"""Runs that find sellers, for tests about sellers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from app.collection.sellers import Seen

if TYPE_CHECKING:
    from tests.collection.conftest import Team

_RUN = """
INSERT INTO collection.collection_runs (id, org_id, name, marketplace, estimated_cost_cents, budget_cap_cents,
                                        category_ids, created_by)
VALUES (%s, %s, 'run', 'ebay.com', 0, 0, '{toys}', %s)
"""


def make_run(team: Team) -> UUID:
    """A pending run of the organisation."""
    run_id = uuid4()
    team.connection.execute(_RUN, [run_id, team.org_id, team.user_id])
    return run_id


def seen(team: Team, run_id: UUID, name: str, normalized: str | None = None, **given: Any) -> Seen:
    """A seller on a page of the run. Its normalised name is the name in lower case, if none is given."""
    return Seen(team.org_id, run_id, name, normalized or name.lower(), **given)
