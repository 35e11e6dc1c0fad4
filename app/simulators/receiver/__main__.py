"""Run the receiver as a program: print `{"url": "http://127.0.0.1:PORT"}` once it listens, serve until SIGTERM."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from app.simulators.program import settings_of
from app.simulators.receiver.application import create_receiver
from app.simulators.receiver.behaviour import Behaviour
from app.simulators.serving import as_program

program = typer.Typer(add_completion=False)


@program.command()
def main(
    *,
    port: Annotated[int, typer.Option(help="Port; 0: a free one.")] = 0,
    secret: Annotated[list[str] | None, typer.Option(help="A known secret, whsec_...; repeatable.")] = None,
    behaviour: Annotated[str, typer.Option(help="Settings as a JSON object; flags override them.")] = "{}",
) -> None:
    """Serve a simulated receiver of webhooks on the loopback interface."""
    settings = settings_of(Behaviour, behaviour, {"secrets": tuple(secret) if secret else None})
    as_program(create_receiver(settings, clock=time.time), port)


if __name__ == "__main__":
    program()
