"""A real Chromium, if the machine has one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, Route, sync_playwright

__all__ = ["Page", "Route", "executable", "page"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str | None:
    """Return the path of a browser: that in TALLYMAN_BROWSER, else an installed one; None if there is none."""
    return os.environ.get("TALLYMAN_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def page() -> Iterator[Page]:
    """Yield a page of a new browser. Skips the test if the machine has none."""
    path = executable()
    if path is None:
        pytest.skip(f"no browser: install one of {', '.join(_NAMES)}, or set TALLYMAN_BROWSER")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser.new_page()
        finally:
            browser.close()
