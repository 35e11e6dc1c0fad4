"""Secrets that a command reads: from standard input or a prompt, never from the command line."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

import typer

from app.errors import InvalidInput

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from collections.abc import Callable

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


def not_typed(parameter: str, name: str, instead: str) -> Callable[[typer.Context, str | None], str | None]:
    """Return a callback that refuses a secret on the command line: every user of the machine can read arguments.

    `parameter`: the command's parameter. `name`: the field that the error names. `instead`: other ways to give it.
    """

    def refuse(context: typer.Context, value: str | None) -> str | None:
        source = context.get_parameter_source(parameter)
        if value is not None and source is not None and source.name == "COMMANDLINE":
            raise InvalidInput(f"{name}: not accepted as an argument; use {instead} or the prompt")
        return value

    return refuse


def from_terminal(name: str, prompt: str, instead: str) -> SecretStr:
    """Ask for a secret without echo. Raises `InvalidInput`, which names the field `name`, without a terminal."""
    from pydantic import SecretStr

    if not sys.stdin.isatty():
        raise InvalidInput(f"{name}: no terminal for a prompt; use {instead}")
    return SecretStr(ask(prompt))


def ask(prompt: str) -> str:
    """Ask on the terminal without echo. Raises `typer.Abort` at the end of input."""
    # Not typer.prompt: it prints the prompt shortly before it turns the terminal's echo off.
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise typer.Abort from None
