"""Find migration files: the program's, those of domains in other packages, and those of the installed Procrastinate."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from app.errors import SetupError

_FILE_NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
_NO_TRANSACTION = b"-- no-transaction"


@dataclass(frozen=True)
class Script:
    """A file to apply. `included`: files whose content it already contains."""

    name: str
    content: bytes
    included: tuple[Script, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the content with Unix line ends, in hexadecimal digits. Independent of git's conversion."""
        return hashlib.sha256(self.content.replace(b"\r\n", b"\n")).hexdigest()

    @property
    def is_transactional(self) -> bool:
        """Whether it runs inside a transaction."""
        return not self.content.startswith(_NO_TRANSACTION)


@dataclass(frozen=True, slots=True)
class Sources:
    """Directories of migration files.

    `directory`: the program's. `queue_directory`: the `sql` directory of Procrastinate `queue_version`. `domains`: the
    directories of domains from other packages, by name.
    """

    directory: Path
    queue_directory: Path
    queue_version: str
    domains: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def installed(cls, domains: Mapping[str, Path] | None = None) -> Sources:
        """Return the sources of this checkout, the installed Procrastinate, and `domains`. Raises `SetupError`."""
        found = importlib.util.find_spec("procrastinate")
        if found is None or found.origin is None:
            message = "the package procrastinate is not installed"
            raise SetupError(message)
        ours = Path(__file__).parent.parent.parent / "migrations"
        queue = Path(found.origin).parent / "sql"
        return cls(ours, queue, importlib.metadata.version("procrastinate"), domains or {})

    def ours(self) -> list[Script]:
        """Return the program's files in the order of their numbers, then the files of each domain.

        The name of a domain's file is `<domain>/NNNN_name.sql`. Raises `SetupError` for a missing directory, a wrong
        file name, or a duplicate number in one directory.
        """
        scripts = _numbered(self.directory, "")
        for domain, directory in self.domains.items():
            scripts += _numbered(directory, f"{domain}/")
        return scripts

    def queue_schema(self) -> Script:
        """Return Procrastinate's complete schema."""
        name = f"procrastinate/{self.queue_version}/schema.sql"
        return Script(name, (self.queue_directory / "schema.sql").read_bytes(), tuple(self.queue_upgrades()))

    def queue_upgrades(self) -> list[Script]:
        """Return Procrastinate's upgrade files, oldest first."""
        paths = sorted((self.queue_directory / "migrations").glob("*.sql"))
        return [Script(f"procrastinate/{path.name}", path.read_bytes()) for path in paths]


def _numbered(directory: Path, prefix: str) -> list[Script]:
    if not directory.is_dir():
        message = f"migrations: the directory {directory} of {prefix.rstrip('/') or 'the program'} does not exist"
        raise SetupError(message)
    paths = sorted(directory.glob("*.sql"))
    wrong = [path.name for path in paths if not _FILE_NAME.fullmatch(path.name)]
    numbers = [path.name[:4] for path in paths]
    if wrong or len(set(numbers)) < len(numbers):
        place = f"{prefix.rstrip('/')}: " if prefix else ""
        message = f"{place}a file in migrations/ must be NNNN_name.sql, with a unique number: check {wrong or numbers}"
        raise SetupError(message)
    return [Script(f"{prefix}{path.name}", path.read_bytes()) for path in paths]
