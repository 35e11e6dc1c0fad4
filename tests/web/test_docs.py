"""The documentation page works without a network, under its own security policy."""

from __future__ import annotations

import hashlib
import re

import httpx

from app.web.docs import FILES
from tests.helpers import browser
from tests.helpers.waits import LIMIT_S
from tests.helpers.web import TestClient


def test_the_vendored_files_are_those_of_the_readme() -> None:
    """Their hashes are. No other script or style sheet is there but our own."""
    listed = dict(re.findall(r"\| (\S+) \| `([0-9a-f]{64})` \|", (FILES / "README.md").read_text(encoding="utf-8")))
    assert {name: hashlib.sha256((FILES / name).read_bytes()).hexdigest() for name in listed} == listed
    assert {file.name for file in FILES.iterdir() if file.suffix in {".js", ".css"}} == {*listed, "start.js"}


def test_the_page_names_only_files_of_this_server(client: TestClient) -> None:
    """Each exists, with its type."""
    answer = client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert len(named) == 4
    types = {name: client.get(name).headers["content-type"].split(";")[0] for name in named if name != "data:,"}
    assert set(types.values()) == {"text/javascript", "text/css"}
    assert client.get("/docs/files/../app.py").status_code == 404


def test_a_browser_without_a_network_shows_the_api(served: httpx.Client) -> None:
    """Every request goes to this server. Nothing is refused by the policy, and an operation opens."""
    origin = str(served.base_url)
    elsewhere: list[str] = []
    complaints: list[str] = []
    with browser.page() as page:
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def only_here(route: browser.Route) -> None:
            if route.request.url.startswith((origin, "data:")):
                route.continue_()
            else:
                elsewhere.append(route.request.url)
                route.abort()

        page.route("**/*", only_here)
        page.goto(f"{origin}/docs")
        operation = page.locator("#operations-jobs-submit_job_v1_workspaces__workspace_id__jobs_post")
        operation.click(timeout=LIMIT_S * 1000)
        operation.get_by_text("Idempotency-Key").first.wait_for(timeout=LIMIT_S * 1000)
        assert page.title() == "Tallyman API"
    assert (elsewhere, complaints) == ([], [])
