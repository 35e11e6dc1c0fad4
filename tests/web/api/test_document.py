"""The application does what its OpenAPI document says, for requests made of the document, valid and not."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from app.logistics.jobs import create_robot_job
from tests.helpers.children import finished
from tests.helpers.shops import Shop
from tests.web.api.conftest import Caller

EXAMPLES = 2
"""Random requests an operation, besides those for every keyword of its schema. Raise it to search for longer."""


_IMPORTS = "/import$"
"""Uploads of CSV. A schema cannot say which texts are valid ones."""


@pytest.mark.parametrize(
    "operations",
    [
        ["--include-path-regex=^/v1/|^/healthz$", f"--exclude-path-regex=/events$|{_IMPORTS}"],
        [f"--include-path-regex={_IMPORTS}", "--exclude-checks=positive_data_acceptance"],
    ],
    ids=["all but imports", "imports"],
)
def test_every_answer_is_documented(
    served: httpx.Client, member: Caller, shop: Shop, tmp_path: Path, operations: list[str]
) -> None:
    """All checks of schemathesis: no 500, no undocumented status, header or body, no invalid request accepted.

    Streams of events are left out: they have no end.
    """
    job = create_robot_job(shop.context, shop.order(3))
    config = tmp_path / "schemathesis.toml"
    ids = {"workspace_id": member.workspace.id, "job_id": job.id}
    lines = [f'"path.{name}" = "{value}"' for name, value in ids.items()]
    config.write_text("\n".join(["[parameters]", *lines]), encoding="utf-8")
    done = finished(
        sys.executable,
        "-m",
        "schemathesis.cli",
        f"--config-file={config}",
        "run",
        f"{served.base_url}/openapi.json",
        "--checks=all",
        *operations,
        f"--max-examples={EXAMPLES}",
        "--phases=coverage,fuzzing",
        "--seed=1",
        "--workers=1",
        "--generation-database=none",
        f"--header=Authorization: {member.headers['Authorization']}",
        limit=240,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
