"""The files that make the schema: ours, and those of the installed Procrastinate."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.errors import SetupError

_FILE_NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
_NO_TRANSACTION = b"-- no-transaction"


@dataclass(frozen=True)
class Script:
    """A file to apply; `included` are the files whose content it contains already."""

    name: str
    content: bytes
    included: tuple[Script, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Of the content with the line ends of Unix, whatever git made of them."""
        return hashlib.sha256(self.content.replace(b"\r\n", b"\n")).hexdigest()

    @property
    def is_transactional(self) -> bool:
        """Whether it runs inside a transaction."""
        return not self.content.startswith(_NO_TRANSACTION)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the files are: our directory, and the `sql` directory of a version of Procrastinate."""

    directory: Path
    queue_directory: Path
    queue_version: str

    @classmethod
    def installed(cls) -> Sources:
        """The files of this checkout and of the installed package."""
        found = importlib.util.find_spec("procrastinate")
        if found is None or found.origin is None:
            message = "the package procrastinate is not installed"
            raise SetupError(message)
        ours = Path(__file__).parent.parent.parent / "migrations"
        return cls(ours, Path(found.origin).parent / "sql", importlib.metadata.version("procrastinate"))

    def ours(self) -> list[Script]:
        """Our files in the order of their numbers. Raises SetupError where that order would be in doubt."""
        paths = sorted(self.directory.glob("*.sql"))
        strange = [path.name for path in paths if not _FILE_NAME.fullmatch(path.name)]
        numbers = [path.name[:4] for path in paths]
        if strange or len(set(numbers)) < len(numbers):
            message = f"a file in migrations/ is NNNN_name.sql, with a number of its own: look at {strange or numbers}"
            raise SetupError(message)
        return [Script(path.name, path.read_bytes()) for path in paths]

    def queue_schema(self) -> Script:
        """Procrastinate's schema as a whole."""
        name = f"procrastinate/{self.queue_version}/schema.sql"
        return Script(name, (self.queue_directory / "schema.sql").read_bytes(), tuple(self.queue_upgrades()))

    def queue_upgrades(self) -> list[Script]:
        """Procrastinate's upgrade files, oldest first."""
        paths = sorted((self.queue_directory / "migrations").glob("*.sql"))
        return [Script(f"procrastinate/{path.name}", path.read_bytes()) for path in paths]
