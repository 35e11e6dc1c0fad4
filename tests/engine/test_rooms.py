"""The boundaries of the engine's packages: each format is known in one module, and no domain is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from app.program import WIRING

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "app" / "engine"


def _lines(pattern: str, *, beside: str = "") -> Iterator[str]:
    """Yield the lines of the engine's files that match a pattern, except those of the file `beside`."""
    wanted = re.compile(pattern)
    for file in sorted(ENGINE.rglob("*")):
        name = str(file.relative_to(ENGINE))
        if file.suffix in {".py", ".sql"} and name != beside:
            lines = enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
            yield from (f"{name}:{number}: {line}" for number, line in lines if wanted.search(line))


def test_the_engine_names_no_domain() -> None:
    """Neither a domain's schema nor its package, in code, SQL or prose."""
    assert WIRING.schemas
    assert list(_lines(rf"\b({'|'.join(WIRING.schemas)})\b")) == []


def test_every_schema_of_this_program_is_declared() -> None:
    """Preflight checks the declared schemas, so they must be all that migrations create."""
    made = {
        name
        for file in (ROOT / "migrations").glob("*.sql")
        for name in re.findall(r"CREATE SCHEMA (?:IF NOT EXISTS )?(\w+)", file.read_text(encoding="utf-8"))
    }
    assert made - {"engine", "auth"} == set(WIRING.schemas)


def test_the_format_of_a_queue_row_is_known_in_one_module() -> None:
    """`queue/envelope` writes and reads it. SQL reads `engine.queue_rows`."""
    assert list(_lines(r"\bargs\s*(->|\?|@>|#>)", beside="queue/envelope.py")) == []
    assert (
        list(
            _lines(
                r"""specversion|build_object\('(events|attempt)'|["']events["'](\]| in\b| not in\b)""",
                beside="queue/envelope.py",
            )
        )
        == []
    )


def test_the_ledger_and_the_dead_letters_are_written_in_one_module_each() -> None:
    """There is one INSERT for each, and one decision about errors for handlers and one for effects."""
    assert list(_lines(r"INSERT INTO engine\.event_log", beside="delivery/ledger.py")) == []
    assert list(_lines(r"INSERT INTO engine\.failed_jobs", beside="delivery/bury.py")) == []
    decided = [line.partition(":")[0] for line in _lines(r"(?<!def )\bdecide\(")]
    assert decided == ["delivery/settle.py", "effects/verdict.py"]
