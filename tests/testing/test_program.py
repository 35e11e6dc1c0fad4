"""Every handler and effect of the program: wherever its worker crashes, the end is that of a run without faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.context import Connection
from app.engine.registration import Domain
from app.fixtures import CrashCase
from app.testing.cases import cases, faults, run_case, without_case
from app.wiring import DOMAINS
from tests.conftest import Database

CASES = [pytest.param(domain, case, id=f"{domain.name}, {case.name}") for domain in DOMAINS for case in cases(domain)]


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_every_event_type_has_a_case(domain: Domain) -> None:
    """Each handler and effect of a domain has a crash case in the domain's fixtures."""
    assert without_case(domain) == []


def test_an_event_type_without_a_case_is_named() -> None:
    """A domain whose fixtures lack the crash enumeration is told the types that are missing."""
    (domain,) = (replace(one, fixtures=None) for one in DOMAINS if one.name == "logistics")
    assert without_case(domain) == [
        "order/updated",
        "robot/item.completed",
        "robot/item.requested",
        "robot/job.completed",
        "robot/job.submitted",
    ]


@pytest.mark.parametrize(("domain", "case"), CASES)
def test_a_worker_may_crash_anywhere(
    database: Database, connection: Connection, domain: Domain, case: CrashCase[Any]
) -> None:
    """Nothing is lost or done twice, and the outside world has each order as often as it should."""
    report = run_case(database, connection, domain, case)
    assert all(report.tried[fault] for fault in faults(case))
