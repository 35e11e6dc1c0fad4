"""The dead letters and plans of one tenant."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from app.context import Connection, Context
from app.engine.dead_letters import of_tenant
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.errors import NotFound
from tests.helpers.dead_letters import dead
from tests.helpers.toy import want


def test_letters_that_failed_together_are_on_one_page_each(connection: Connection) -> None:
    """Letters of one transaction have one time. The pages have each of them once, and none of another tenant."""
    tenant, other = uuid4(), uuid4()
    with connection.transaction():
        made = dead(connection, *(want(f"word {n}", tenant=tenant) for n in range(5)))
        foreign = dead(connection, want("foreign", tenant=other))
    context = Context.start(connection, tenant)
    found, before = [], None
    while page := of_tenant.list_letters(context, before=before, limit=2):
        found += [one.id for one in page]
        before = page[-1].id
    assert sorted(found) == sorted(one.id for one in made)
    assert of_tenant.list_letters(context, before=foreign[0].id) == []
    for wanted in (foreign[0].id, foreign[0].event_id):
        assert wanted is not None
        with pytest.raises(NotFound):
            of_tenant.find_letter(context, wanted)


def test_a_plan_is_of_the_tenant_whatever_the_filters_name(connection: Connection) -> None:
    """A plan of another tenant, or of all tenants, is not found."""
    tenant, other = uuid4(), uuid4()
    (letter,) = dead(connection, want("own", tenant=tenant))
    dead(connection, want("foreign", tenant=other))
    context = Context.start(connection, tenant)
    made = of_tenant.make_plan(context, Filters(tenant=other), actor="me")
    assert [one.letter_id for one in plans.letters(connection, made.id)] == [letter.id]
    assert of_tenant.find_plan(context, made.id) == made
    shared = plans.make(connection, Filters(), actor="me")
    for plan_id in (shared.id, uuid4()):
        with pytest.raises(NotFound, match="plan: there is none"):
            of_tenant.find_plan(context, plan_id)
    listed = of_tenant.list_plans(context, every=True)
    assert [one.id for one in listed] == [made.id]
    assert of_tenant.list_plans(context, every=True, before=made.id) == []
    assert of_tenant.list_plans(replace(context, tenant_id=other), every=True) == []
