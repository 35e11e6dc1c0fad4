"""The installed wiring of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.engine import installed
from app.errors import SetupError


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = list(installed._sources)  # noqa: SLF001 - restored afterwards
    yield
    installed._sources[:] = before  # noqa: SLF001 - the same
    installed.installed.cache_clear()


def test_the_wiring_is_made_when_it_is_first_needed_and_kept() -> None:
    """Installing calls nothing, so `--help` stays fast."""
    calls: list[object] = []

    def make() -> object:
        calls.append(object())
        return calls[-1]

    installed.install(make)
    assert calls == []
    assert installed.installed() is installed.installed()
    assert len(calls) == 1


def test_the_last_installation_counts() -> None:
    """Also if the wiring of an earlier one was in use."""
    installed.install(lambda: "first")
    assert installed.installed() == "first"
    installed.install(lambda: "second")
    assert installed.installed() == "second"


def test_a_process_without_a_wiring_is_told_what_to_call() -> None:
    """`SetupError` names the function of the entry points."""
    installed._sources.clear()  # noqa: SLF001 - a process that has installed nothing
    installed.installed.cache_clear()
    with pytest.raises(SetupError, match=r"app\.startup\.install_wiring\(\)"):
        installed.installed()
