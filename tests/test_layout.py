"""The layout of the tests: helpers stand in tests/helpers/."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"

NOT_HELPERS = ("helpers", "mutants")
"""`mutants` is a program of its own: `python -m tests.mutants`."""


def test_helpers_stand_in_one_directory() -> None:
    """Outside tests/helpers/, a module holds tests or fixtures: `test_*.py` or `conftest.py`."""
    modules = [file.relative_to(TESTS) for file in TESTS.rglob("*.py")]
    assert [
        str(module)
        for module in modules
        if module.parts[0] not in NOT_HELPERS and not module.name.startswith("test_") and module.name != "conftest.py"
    ] == []
