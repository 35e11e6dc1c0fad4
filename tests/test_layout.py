"""The layout of the tests: a test file of its name for each module, and one directory for helpers."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"

ROOMS = ("app/collection", "app/engine", "app/logistics", "app/tenancy")
"""The packages whose modules have a test file each."""

FIXTURES = "fixtures"
"""A domain's crash cases, isolation rows and chaos: tests run them, so they need no test file."""

WITHOUT_TESTS = {
    "app/engine/delivery/engine.py": "declares the objects that deliveries share; test_metrics.py has its transaction",
}
"""Modules without a test file, each with the reason. A package's `__init__` needs none."""

DRIVEN_BY = {
    "app/collection/checkups.py": "tests.helpers.health_fixtures",
    "app/collection/items.py": "tests.helpers.collecting",
    "app/collection/page_handlers.py": "tests.helpers.collecting",
    "app/collection/settle.py": "tests.helpers.collecting",
    "app/engine/batches/checks.py": "app.engine.batches",
    "app/engine/batches/lifecycle.py": "app.engine.batches",
    "app/engine/batches/parts.py": "app.engine.batches",
    "app/engine/health/event_types.py": "tests.helpers.health_fixtures",
    "app/logistics/checkups.py": "tests.helpers.health_fixtures",
    "app/logistics/explain.py": "tests.helpers.explained",
    "app/logistics/invariants.py": "app.program",
}
"""Modules that their tests reach by another module, as the program does: that module."""

NOT_HELPERS = ("helpers", "mutants")
"""`mutants` is a program of its own: `python -m tests.mutants`."""


def modules() -> list[str]:
    """Return the modules that need a test file."""
    found = (file.relative_to(ROOT) for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))
    own = [file for file in found if file.name != "__init__.py" and FIXTURES not in (*file.parts, file.stem)]
    return [str(file) for file in own if str(file) not in WITHOUT_TESTS]


def file_of(module: str) -> Path:
    """Return the test file of a module: `app/engine/x/y.py` has `tests/engine/x/test_y.py`."""
    file = Path(module).relative_to("app")
    return TESTS / file.parent / f"test_{file.name}"


@cache
def imported(file: Path) -> set[str]:
    """Return the modules that a file imports, and the names that it imports from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return found


def dotted(module: str) -> str:
    """Return the import name of a file."""
    return module.removesuffix(".py").replace("/", ".")


@pytest.mark.parametrize("module", modules())
def test_a_module_has_a_test_file_of_its_name(module: str) -> None:
    """It holds tests, and imports the module, or the module by which the program reaches it."""
    file = file_of(module)
    assert file.exists(), f"{module} has no {file.relative_to(ROOT)}"
    tests = [
        node.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert tests, f"{file.relative_to(ROOT)} holds no test"
    assert {dotted(module), DRIVEN_BY.get(module)} & imported(file), f"{file.relative_to(ROOT)} does not import it"


def test_no_exception_is_out_of_date() -> None:
    """An exception is of a module that exists, and is still needed."""
    assert [module for module in (*WITHOUT_TESTS, *DRIVEN_BY) if not (ROOT / module).exists()] == []
    assert [module for module in WITHOUT_TESTS if file_of(module).exists()] == []
    assert [module for module in DRIVEN_BY if dotted(module) in imported(file_of(module))] == []


def test_helpers_stand_in_one_directory() -> None:
    """Outside tests/helpers/, a module holds tests or fixtures: `test_*.py` or `conftest.py`."""
    files = [file.relative_to(TESTS) for file in TESTS.rglob("*.py")]
    assert [
        str(file)
        for file in files
        if file.parts[0] not in NOT_HELPERS and not file.name.startswith("test_") and file.name != "conftest.py"
    ] == []
