"""Install the wiring when a process starts: `cli.py`, the worker's entry point, tests, other programs."""

from __future__ import annotations

from typing import Any

from app.engine.installed import install


def install_wiring() -> None:
    """Install this program's wiring in the engine. Call it once, when the process starts. Imports no domain yet."""
    install(_own_wiring)


def _own_wiring() -> Any:
    from app.program import WIRING  # noqa: PLC0415 - it imports every domain, which takes a second

    return WIRING
