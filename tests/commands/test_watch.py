"""`--watch`: from a file to tracking numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import settings
from app.simulators.portal import Behaviour, Portal, Rule, serve
from tests.commands.conftest import Run
from tests.helpers.workers import worker_pool

COVERAGE = "city,department,carrier_city\nBogotá,Cundinamarca,BOGOTA (C/MARCA)\n"
HEADER = "reference,recipient_name,address,city\n"


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    """A slow portal."""
    with serve(Behaviour(latency_ms=50)) as running:
        yield running


@pytest.fixture
def ready(run: Run, portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for files, a workspace set up by commands, and a waiting worker."""
    monkeypatch.setenv("TALLYMAN_PORTAL_PASSWORD", "demo-password")
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", "0")
    settings.cache_clear()
    account = ("--username", "demo", "--portal-url", portal.url, "--max-sessions", 4, "--enable")
    (tmp_path / "coverage.csv").write_text(COVERAGE)
    for command in (
        ("workspaces", "create", "Acme"),
        ("carriers", "set", "coordinadora", *account),
        ("coverage", "import", tmp_path / "coverage.csv"),
    ):
        assert run(*command).code == 0
    with worker_pool(tmp_path) as workers:
        workers.work()
        yield tmp_path


def test_a_job_is_watched_to_its_end(run: Run, ready: Path, portal: Portal) -> None:
    """One line for each change. The last line and the exit code have the result. Also for a retry."""
    orders = ready / "orders.csv"
    orders.write_text(HEADER + "".join(f"A-{n},Ana {n},Calle {n},Bogotá\n" for n in range(40)))
    done = run("jobs", "submit", "--file", orders, "--idempotency-key", "monday", "--watch", "--json")
    submitted, *progress = done.rows
    assert (done.code, submitted["status"], submitted["total_items"]) == (0, "pending", 40)
    counts = [line["success_count"] for line in progress]
    assert counts == sorted(counts)
    assert len(counts) > 2
    assert (progress[-1]["status"], counts[-1]) == ("completed", 40)
    assert max(line["rate"] for line in progress) > 0

    portal.change(rules=[Rule(field="address", contains="Vereda", then="refuse", message="no route")])
    orders.write_text(HEADER + "B-1,Eva,Vereda 1,Bogotá\nB-2,Eva,Vereda 2,Mitú\n")
    failed = run("jobs", "submit", "--file", orders, "--watch", "--json")
    last = failed.rows[-1]
    assert (failed.code, last["status"], last["by_error_type"]) == (1, "failed", {"portal": 1, "validation": 1})

    portal.change(rules=())
    mended = run("jobs", "retry", failed.rows[0]["job_id"], "--watch")
    assert mended.code == 0
    assert mended.out.splitlines()[-1].startswith("completed: 2/2 done, 1 shipped, 1 failed (1 validation)")
    assert (portal.record.summary().accepted, portal.record.duplicates) == (41, [])
    assert run("audit").code == 0
