"""Where the wiring comes from: an entry point names it once, so that the engine imports no domain.

This module imports nothing heavy: `cli.py --help` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from app.errors import SetupError

_sources: list[Callable[[], Any]] = []


def install(source: Callable[[], Any]) -> None:
    """Name the function that returns this program's `Wiring`. It is called when the wiring is first needed."""
    _sources[:] = [source]
    installed.cache_clear()


@cache
def installed() -> Any:
    """The wiring that an entry point installed. Raises `SetupError` if none did."""
    if not _sources:
        raise SetupError("no wiring is installed: call app.startup.install_wiring() when the process starts")
    return _sources[0]()
