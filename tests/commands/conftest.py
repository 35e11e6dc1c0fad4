"""Run commands in the test's process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from typer.testing import CliRunner

from cli import app


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The JSON lines of its output."""
        return [json.loads(line) for line in self.out.splitlines()]


class Run(Protocol):
    """Runs a command with these arguments."""

    def __call__(self, *arguments: object, stdin: str | bytes | None = None) -> Outcome:
        """Run the command. `stdin`: its standard input, which is no terminal."""


@pytest.fixture
def run(database: object, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs commands on the test's database."""
    for name in ("TALLYMAN_WORKSPACE", "TALLYMAN_ORG", "TALLYMAN_PORTAL_PASSWORD", "TALLYMAN_MARKETPLACE_KEY"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: object, stdin: str | bytes | None = None) -> Outcome:
        done = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin)
        return Outcome(done.exit_code, done.stdout, done.stderr)

    return command
