"""Secrets that a command reads: from standard input or a prompt, never from the command line."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

import typer

from app.errors import InvalidInput

# Imported where it is used: `--help` does not need it.
if TYPE_CHECKING:
    from pydantic import SecretStr


def from_stdin(name: str) -> SecretStr:
    """Return the first line of standard input. Raises `InvalidInput`, which names the field `name`, if not UTF-8."""
    from pydantic import SecretStr

    line = sys.stdin.buffer.readline()
    try:
        return SecretStr(line.decode().rstrip("\r\n"))
    except UnicodeDecodeError:
        # No cause: it would show a part of the secret.
        raise InvalidInput(f"{name}: not UTF-8") from None


def ask(prompt: str) -> str:
    """Ask on the terminal without echo. Raises `typer.Abort` at the end of input."""
    # Not typer.prompt: it prints the prompt shortly before it turns the terminal's echo off.
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise typer.Abort from None
