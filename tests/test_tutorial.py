"""The tutorial: its files and commands work for a new user, in a separate home directory."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app import children
from app.postgres import embedded
from tests.helpers.children import ROOT, read_line
from tests.helpers.waits import LIMIT_S

PAGE = ROOT / "docs" / "tutorial.md"
MOST_PYTHON, MOST_SQL = 200, 80
"""Lines that the domain may have."""

_FILE = re.compile(r"^```\w+\n(?:#|--) (\S+\.\w+)\n.*?^```$", re.DOTALL | re.MULTILINE)
_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_EXIT = re.compile(r"\[exit (\d+)\]")
_SHELL_SAYS = re.compile(r"bash: line \d+: +\d+ Killed")
_ONLY_READS = re.compile(r"python cli\.py (dead list|explain) ")
_COMMAND_LIMIT_S = 240.0
_ANY_PORT = "18090"


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page, and the output lines after it."""

    command: str
    lines: tuple[str, ...]
    code: int


def files(page: str) -> dict[str, str]:
    """Return the files in the page's blocks by path, which is in the first line."""
    return {found[1]: found[0].partition("\n")[2].removesuffix("```") for found in _FILE.finditer(page)}


def steps(page: str) -> Iterator[Step]:
    """Return the commands of the page's console blocks."""
    for block in _CONSOLE.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            code = int(said[1]) if lines and (said := _EXIT.fullmatch(lines[-1])) else 0
            yield Step(command, tuple(lines[:-1] if code else lines), code)


@dataclass(slots=True)
class Reader:
    """Runs the page's commands in one shell. `ids`: this run's ids by those of the page."""

    shell: subprocess.Popen[str]
    ids: dict[str, str] = field(default_factory=dict)

    def run(self, command: str) -> tuple[int, list[str]]:
        """Run a command. Returns its exit code and output lines."""
        assert self.shell.stdin is not None
        self.shell.stdin.write(f'{command}\necho "[done $?]"\n')
        self.shell.stdin.flush()
        lines: list[str] = []
        while not (done := re.fullmatch(r"\[done (\d+)\]\n", line := read_line(self.shell.stdout, _COMMAND_LIMIT_S))):
            assert line, f"the shell ended at: {command}"
            if not _SHELL_SAYS.match(line):
                lines.append(line)
        return int(done[1]), [" ".join(line.split()) for line in lines]

    def follow(self, step: Step) -> None:
        """Run a step. A command that only reads is repeated until its output is the page's, within a limit."""
        command = _ID.sub(lambda found: self.ids[found[0]], step.command)
        code, said = self.run(command)
        if _ONLY_READS.match(command):
            tries = iter(range(20))
            while not self._matches(step, said) and next(tries, None) is not None:
                code, said = self.run(command)
        assert code == step.code, f"{command}\n" + "\n".join(said)
        assert self._matches(step, said), f"{command}\n" + "\n".join(said) + "\nis not\n" + "\n".join(step.lines)

    def _matches(self, step: Step, said: Sequence[str]) -> bool:
        """Return whether the output is the page's. Learns ids that the page shows first."""
        new = [one for one in dict.fromkeys(_ID.findall("\n".join(step.lines))) if one not in self.ids]
        found = re.fullmatch("".join(self._pattern(line, new) for line in step.lines), "".join(f"{x}\n" for x in said))
        if found:
            self.ids.update({one: found[f"id{n}"] for n, one in enumerate(new)})
        return found is not None

    def _pattern(self, line: str, new: list[str]) -> str:
        if line == "…":
            return r"(?:.*\n)*?"
        text = re.escape(" ".join(line.split())).replace("…", ".*")
        for one in _ID.findall(line):
            known = re.escape(self.ids[one]) if one in self.ids else None
            text = text.replace(re.escape(one), known or rf"(?P<id{new.index(one)}>{_ID.pattern})", 1)
        return text + r"\n"


@contextmanager
def home_directory() -> Iterator[Path]:
    """An empty home directory. A server in it is stopped afterwards."""
    # Short, unlike `tmp_path`: a server's socket has a path of at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tutorial-") as name:
        home = Path(name)
        try:
            yield home
        finally:
            embedded.stop(home / ".local/share/tallyman")


@contextmanager
def shell(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A shell in the checkout with a new user's environment. Its children end with it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"HOME": str(home), "PATH": path, "TMPDIR": str(home), "LANG": "C.UTF-8"}
    process = children.start(
        ["bash", "--noprofile", "--norc"],
        environment=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(LIMIT_S)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def free_port() -> str:
    """A free port of the loopback interface."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def test_the_domain_is_short() -> None:
    """At most 200 lines of Python and 80 of SQL, without private names."""
    package = {name: text for name, text in files(PAGE.read_text(encoding="utf-8")).items() if "postcards/" in name}
    lines = Counter[str]()
    for name, text in package.items():
        lines[Path(name).suffix] += len(text.splitlines())
        assert not re.search(r"(?:import|\.) ?_[a-z]", text), name
    assert lines[".py"] <= MOST_PYTHON
    assert lines[".sql"] <= MOST_SQL
    assert {".py", ".sql"} == set(lines)


@pytest.mark.timeout(600)
def test_the_page_works_as_it_stands() -> None:
    """Files, commands and output, with a killed worker: each card of a job is printed once."""
    page = PAGE.read_text(encoding="utf-8").replace(_ANY_PORT, free_port())
    with home_directory() as home, shell(home) as bash:
        reader, books, killed_after = Reader(bash), home / "shop" / "books.tsv", 0
        for name, text in files(page).items():
            path = home / "cards" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for step in steps(page):
            reader.follow(step)
            if step.command.startswith("kill -KILL"):
                killed_after = len(books.read_text(encoding="utf-8").splitlines())
        assert 1 <= killed_after < 28
        printed = Counter(line.split("\t")[2] for line in books.read_text(encoding="utf-8").splitlines())
        assert (len(printed), set(printed.values())) == (30, {2})  # once in each of the two jobs
