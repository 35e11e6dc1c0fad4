"""Install the process's wiring. An entry point does this once, so that the engine imports no domain.

This module has no slow imports, because `cli.py --help` imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from app.errors import SetupError

_sources: list[Callable[[], Any]] = []


def install(source: Callable[[], Any]) -> None:
    """Set the function that returns this program's `Wiring`. It is called when the wiring is first needed."""
    _sources[:] = [source]
    installed.cache_clear()


@cache
def installed() -> Any:
    """Return the wiring that an entry point installed. Raises `SetupError` if none is installed."""
    if not _sources:
        raise SetupError("no wiring is installed: call app.startup.install_wiring() when the process starts")
    return _sources[0]()
