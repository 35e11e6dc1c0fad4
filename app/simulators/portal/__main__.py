"""Run the portal as a program: print `{"url": "http://127.0.0.1:PORT"}` once it listens, serve until SIGTERM."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import ValidationError

from app.simulators.portal.application import create_portal
from app.simulators.portal.behaviour import Behaviour
from app.simulators.serving import as_program

program = typer.Typer(add_completion=False)


@program.command()
def main(  # noqa: PLR0913 - a flag for each setting
    *,
    port: Annotated[int, typer.Option(help="Port; 0: a free one.")] = 0,
    behaviour: Annotated[str, typer.Option(help="Settings as a JSON object; flags override them.")] = "{}",
    account: Annotated[list[str] | None, typer.Option(help="USERNAME:PASSWORD; repeatable.")] = None,
    latency_ms: Annotated[float | None, typer.Option(min=0)] = None,
    jitter_ms: Annotated[float | None, typer.Option(min=0)] = None,
    error_rate: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    timeout_rate: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    lost_answer_rate: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    session_lifetime_s: Annotated[float | None, typer.Option(min=0)] = None,
    session_uses: Annotated[int | None, typer.Option(min=1)] = None,
    max_sessions: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Serve a simulated carrier's portal on the loopback interface."""
    flags = {
        "accounts": _accounts(account),
        "latency_ms": latency_ms,
        "jitter_ms": jitter_ms,
        "error_rate": error_rate,
        "timeout_rate": timeout_rate,
        "lost_answer_rate": lost_answer_rate,
        "session_lifetime_s": session_lifetime_s,
        "session_uses": session_uses,
        "max_sessions": max_sessions,
        "seed": seed,
    }
    settings = _settings(behaviour, {name: value for name, value in flags.items() if value is not None})
    as_program(create_portal(settings), port)


def _settings(text: str, flags: dict[str, Any]) -> Behaviour:
    try:
        return Behaviour.model_validate_json(text).changed(**flags)
    except ValidationError as error:
        raise typer.BadParameter(str(error)) from None


def _accounts(given: list[str] | None) -> dict[str, str] | None:
    if not given:
        return None
    pairs = [account.partition(":") for account in given]
    if not all(username and colon for username, colon, _ in pairs):
        raise typer.BadParameter("an account is USERNAME:PASSWORD")
    return {username: password for username, _, password in pairs}


if __name__ == "__main__":
    program()
