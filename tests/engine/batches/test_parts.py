"""The declarations of a domain with one batch."""

from __future__ import annotations

from app.context import Connection
from app.engine import batches
from app.engine.merge import merged
from app.engine.registration import explain_one, tenant_of
from events import new_id
from tests.helpers.cards import PRINTS, Completed, Office, PrintCompleted, PrintShop, Requested, Submitted


def test_a_batch_gives_a_domain_its_parts(connection: Connection, office: Office, shop: PrintShop) -> None:
    """Wiring, invariants, checkups and tables. `explain` finds jobs, items and their tenant."""
    found = batches.parts(PRINTS, batches.effect(PRINTS, queue="prints", call=shop.print, find=shop.find))
    served = merged(("cards", one) for one in found.wirings)
    assert set(served.handlers) == {Submitted, Completed, PrintCompleted}
    assert set(served.effects) == {Requested}
    assert [one.name for one in served.lockables] == ["cards.prints", "cards.cards"] == list(found.tables)
    assert (found.invariants, len(found.checkups)) == (batches.invariants(PRINTS), 1)
    job = office.submit("a")
    (card,) = office.cards(job.id)
    assert [one.kind for one in explain_one(found.explainers, "job", connection, job.id)][-1] == "waiting"
    assert [one.kind for one in explain_one(found.explainers, "item", connection, card.id)][-1] == "waiting"
    tenants = [tenant_of(found.explainers, connection, one) for one in (job.id, card.id, new_id())]
    assert tenants == [office.workspace_id, office.workspace_id, None]
