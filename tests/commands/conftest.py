"""How a command is run in a test: in this process, as an operator would type it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from typer.testing import CliRunner

from cli import app


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What it printed for programs."""
        return [json.loads(line) for line in self.out.splitlines()]


class Run(Protocol):
    """Runs a command; each further argument is one of its."""

    def __call__(self, *arguments: object, stdin: str | bytes | None = None) -> Outcome:
        """Run it with this standard input, which is no terminal."""


@pytest.fixture
def run(database: object, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs commands on the test's database."""
    for name in ("TALLYMAN_WORKSPACE", "TALLYMAN_PORTAL_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: object, stdin: str | bytes | None = None) -> Outcome:
        done = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin)
        return Outcome(done.exit_code, done.stdout, done.stderr)

    return command
