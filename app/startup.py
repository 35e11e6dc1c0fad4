"""What an entry point does first: `cli.py`, the worker's door, tests, and your own programs that import this one."""

from __future__ import annotations

from typing import Any

from app.engine.installed import install


def install_wiring() -> None:
    """Let the engine serve this program's events. Call it once, when the process starts; it imports no domain yet."""
    install(_own_wiring)


def _own_wiring() -> Any:
    from app.program import WIRING  # noqa: PLC0415 - it imports every domain, which takes a second

    return WIRING
