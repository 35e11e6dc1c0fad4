"""The engine's rooms: each line knows its room, and none knows a domain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from app.program import WIRING

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "app" / "engine"


def _lines(pattern: str, *, beside: str = "") -> Iterator[str]:
    """Where the engine's files match a pattern, but for one of them."""
    wanted = re.compile(pattern)
    for file in sorted(ENGINE.rglob("*")):
        name = str(file.relative_to(ENGINE))
        if file.suffix in {".py", ".sql"} and name != beside:
            lines = enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
            yield from (f"{name}:{number}: {line}" for number, line in lines if wanted.search(line))


def test_the_engine_names_no_domain() -> None:
    """No schema of a domain, and no package of one, in code, SQL or prose."""
    assert WIRING.schemas
    assert list(_lines(rf"\b({'|'.join(WIRING.schemas)})\b")) == []


def test_every_schema_of_this_program_is_declared() -> None:
    """Preflight looks at the schemas that the wiring names: none that a migration makes is forgotten."""
    made = {
        name
        for file in (ROOT / "migrations").glob("*.sql")
        for name in re.findall(r"CREATE SCHEMA (?:IF NOT EXISTS )?(\w+)", file.read_text(encoding="utf-8"))
    }
    assert made - {"engine", "auth"} == set(WIRING.schemas)


def test_the_format_of_a_queue_row_is_known_in_one_module() -> None:
    """`queue/envelope` writes and reads it; SQL looks into rows by `engine.queue_rows`."""
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
    """One INSERT each, and one decision of what an error leads to for handlers, one for effects."""
    assert list(_lines(r"INSERT INTO engine\.event_log", beside="delivery/ledger.py")) == []
    assert list(_lines(r"INSERT INTO engine\.failed_jobs", beside="delivery/bury.py")) == []
    decided = [line.partition(":")[0] for line in _lines(r"(?<!def )\bdecide\(")]
    assert decided == ["delivery/settle.py", "effects/verdict.py"]
