"""Run the portal as a program: print `{"url": "http://127.0.0.1:PORT"}` once it listens, serve until SIGTERM."""

from __future__ import annotations

from typing import Annotated

import typer

from app.simulators.portal.application import create_portal
from app.simulators.portal.behaviour import Behaviour
from app.simulators.program import pairs, settings_of
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
        "accounts": dict(pairs(account, "USERNAME:PASSWORD")) if account else None,
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
    as_program(create_portal(settings_of(Behaviour, behaviour, flags)), port)


if __name__ == "__main__":
    program()
