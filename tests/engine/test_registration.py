"""Declared domains: names, claims, and the questions that they answer for `explain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.context import Connection
from app.engine.inspect.reasons import Done, Reason
from app.engine.registration import Domain, Explainer, check, explain_one, explain_tenant, tenant_of
from app.errors import NotFound, SetupError
from tests.helpers.toy import NOW

NO_CONNECTION: Any = None


@pytest.mark.parametrize("name", ["Bells", "1bell", "bell-ringers", "", "b" * 41, "engine", "public", "auth"])
def test_a_name_or_schema_that_cannot_be_is_refused(name: str) -> None:
    """Bad characters, too long, or reserved: the error has the rule."""
    for fields in ({"name": name}, {"name": "bells", "schemas": (name,)}):
        with pytest.raises(SetupError, match="lower-case letters, digits and _"):
            Domain(**fields)


def test_a_missing_migrations_directory_is_refused(tmp_path: Path) -> None:
    """The error names it."""
    assert Domain(name="bells", migrations=tmp_path).migrations == tmp_path
    with pytest.raises(SetupError, match=r"migrations directory .*nowhere does not exist"):
        Domain(name="bells", migrations=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("fields", "claim"),
    [
        ({"name": "bells"}, "name 'bells'"),
        ({"name": "gongs", "schemas": ("chimes",)}, "schema 'chimes'"),
        ({"name": "gongs", "commands": {"ring": None}}, "command 'ring'"),
    ],
)
def test_no_two_domains_claim_the_same(fields: dict[str, Any], claim: str) -> None:
    """A name, a schema or a command. The error names both."""
    bells = Domain(name="bells", schemas=("chimes",), commands={"ring": None})
    check([bells, Domain(name="gongs", schemas=("gongs",), commands={"strike": None})])
    with pytest.raises(SetupError, match=f"{claim} is claimed twice: by bells and by {fields['name']}; rename one"):
        check([bells, Domain(**fields)])


def test_the_programs_own_commands_are_taken() -> None:
    """A domain cannot replace one."""
    with pytest.raises(SetupError, match="command 'work' is claimed twice: by the program and by bells"):
        check([Domain(name="bells", commands={"work": None})], commands=["work"])


def knows(*ids: UUID, tenant: UUID | None = None) -> Explainer:
    """Return an explainer of a domain that has these jobs."""

    def job(_connection: Connection, job_id: UUID) -> Sequence[Reason]:
        if job_id not in ids:
            raise NotFound(f"job: no {job_id} here")
        return [Done(str(job_id), NOW)]

    return Explainer(job=job, tenant_of=lambda _connection, id_: tenant if id_ in ids else None)


def test_the_domain_that_has_a_job_explains_it() -> None:
    """Domains without jobs are skipped."""
    first, second = uuid4(), uuid4()
    explainers = [Explainer(), knows(first), knows(second)]
    (reason,) = explain_one(explainers, "job", NO_CONNECTION, second)
    assert reason == Done(str(second), NOW)


def test_a_job_that_no_domain_has_is_not_found() -> None:
    """The only domain's own error is kept; of several, the error names no domain."""
    job_id = uuid4()
    with pytest.raises(NotFound, match=f"^job: no {job_id} here$"):
        explain_one([knows(), Explainer()], "job", NO_CONNECTION, job_id)
    for explainers in ([knows(), knows()], []):
        with pytest.raises(NotFound, match=f"there is no job {job_id} in any domain"):
            explain_one(explainers, "job", NO_CONNECTION, job_id)
    with pytest.raises(NotFound, match="there is no item"):
        explain_one([knows(job_id)], "item", NO_CONNECTION, job_id)


def test_each_domain_adds_to_the_reasons_of_a_tenant() -> None:
    """In their order; one without a function leaves them as they are."""

    def adding(name: str) -> Explainer:
        return Explainer(tenant=lambda _connection, _tenant, reasons: [*reasons, Done(name, NOW)])

    found = explain_tenant([adding("a"), Explainer(), adding("b")], NO_CONNECTION, uuid4(), [Done("engine", NOW)])
    assert [reason.type for reason in found if isinstance(reason, Done)] == ["engine", "a", "b"]


def test_the_tenant_of_an_id_comes_from_the_domain_that_knows_it() -> None:
    """None if no domain does."""
    one, two, tenant = uuid4(), uuid4(), uuid4()
    explainers = [Explainer(), knows(one), knows(two, tenant=tenant)]
    assert tenant_of(explainers, NO_CONNECTION, two) == tenant
    assert tenant_of(explainers, NO_CONNECTION, one) is None
    assert tenant_of([], NO_CONNECTION, one) is None
