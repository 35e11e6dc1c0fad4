"""Run the marketplace as a program: print `{"url": "http://127.0.0.1:PORT"}` once it listens, serve until SIGTERM."""

from __future__ import annotations

from typing import Annotated

import typer

from app.simulators.marketplace.application import create_marketplace
from app.simulators.marketplace.behaviour import Behaviour
from app.simulators.program import pairs, settings_of
from app.simulators.serving import as_program

program = typer.Typer(add_completion=False)


@program.command()
def main(  # noqa: PLR0913 - a flag for each setting
    *,
    port: Annotated[int, typer.Option(help="Port; 0: a free one.")] = 0,
    behaviour: Annotated[str, typer.Option(help="Settings as a JSON object; flags override them.")] = "{}",
    account: Annotated[list[str] | None, typer.Option(help="NAME:API-KEY; repeatable.")] = None,
    latency_ms: Annotated[float | None, typer.Option(min=0)] = None,
    jitter_ms: Annotated[float | None, typer.Option(min=0)] = None,
    error_rate: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    cut_rate: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    lost_rate: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    max_calls: Annotated[int | None, typer.Option(min=1)] = None,
    retry_after_s: Annotated[int | None, typer.Option(min=0)] = None,
    seed: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Serve a simulated marketplace on the loopback interface."""
    flags = {
        "api_keys": {key: name for name, key in pairs(account, "NAME:API-KEY")} if account else None,
        "latency_ms": latency_ms,
        "jitter_ms": jitter_ms,
        "error_rate": error_rate,
        "cut_rate": cut_rate,
        "lost_rate": lost_rate,
        "max_calls": max_calls,
        "retry_after_s": retry_after_s,
        "seed": seed,
    }
    as_program(create_marketplace(settings_of(Behaviour, behaviour, flags)), port)


if __name__ == "__main__":
    program()
