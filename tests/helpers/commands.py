"""Commands of the program, run in this process."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from cli import app


def run(*arguments: object, code: int = 0) -> Result:
    """Run a command. Returns its result."""
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result


def lines(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
    """Run a command with --json. Returns its output lines."""
    return [json.loads(line) for line in run(*arguments, "--json", code=code).stdout.splitlines()]
