"""A mutant: a small wrong change of the program, and the tests that must detect it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Mutant:
    """Replace `old`, which occurs once in `file`, by `new`. `tests`: arguments of pytest. `why`: the violated rule.

    `survives`: why no test detects it; empty if one must.
    """

    file: str
    old: str
    new: str
    tests: str
    why: str
    survives: str = ""

    def applied(self, text: str) -> str:
        """Return the changed text of the file. Raises `LookupError` if `old` does not occur exactly once."""
        count = text.count(self.old)
        if count != 1:
            raise LookupError(f"{self.file}: occurs {count} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)

    def apply(self, root: Path) -> None:
        """Change the file in a checkout."""
        path = root / self.file
        path.write_text(self.applied(path.read_text()))
