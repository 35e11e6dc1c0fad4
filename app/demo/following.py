"""Follow a job over HTTP: the demo's web application streams its progress to a member of the workspace."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx

from app import database
from app.demo import processes
from app.settings import settings, using
from app.tenancy.members import add_to_workspace
from app.web import tokens

Say = Callable[[str], None]

_MEMBER = "demo@example.org"
_LIMIT_S = 60.0
_PAUSE_S = 0.5
_SHOWN = ("status", "success_count", "error_count")


@contextmanager
def serving(workspace_id: UUID, say: Say) -> Iterator[Callable[[UUID], None]]:
    """Serve the web application. Yields a function that shows the progress stream of a job until the job has ended."""
    secret = secrets.token_urlsafe(32)
    with database.connect() as connection:
        member = add_to_workspace(connection, workspace_id, _MEMBER).user_id
    with using(token_secret=secret), processes.web({"TALLYMAN_TOKEN_SECRET": secret}) as url:
        token = tokens.issue(settings(), member)
        yield lambda job_id: _show(f"{url}/v1/jobs/{job_id}/events", token, say)


def _show(url: str, token: str, say: Say) -> None:
    """Show at most two states a second, and the last one."""
    say(f'Its progress over HTTP: curl -N -H "Authorization: Bearer $TOKEN" {url}')
    shown, unshown = 0.0, ""
    for name, data in _events(url, token):
        if name != "state":
            say(f"{unshown}\n  {name}".removeprefix("\n"))
            continue
        unshown = "  state: " + ", ".join(f"{field} {data[field]}" for field in _SHOWN)
        if time.monotonic() - shown >= _PAUSE_S:
            say(unshown)
            shown, unshown = time.monotonic(), ""


def _events(url: str, token: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the data of each event until the stream ends."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.stream("GET", url, headers=headers, timeout=_LIMIT_S, trust_env=False) as answer:
        answer.raise_for_status()
        name = ""
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)
