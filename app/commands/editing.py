"""Edit a letter's data, and show the progress of a replay, for the `dead` commands."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.output import emit, note
from app.errors import InvalidInput
from app.settings import settings

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.engine.dead_letters.awaited import Progress


def changed(data: dict[str, Any], values: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Return a letter's changed data: with `values` set, from `file`, or from the editor. Raises `InvalidInput`."""
    if file is not None and values:
        raise InvalidInput("data: give either --set or --file, not both")
    if file is not None:
        return _decoded(str(file), file.read_text(encoding="utf-8"))
    if values:
        return _with_values(data, values)
    if not sys.stdin.isatty():
        raise InvalidInput("data: no terminal for an editor; use --set PATH=VALUE or --file")
    edited = _decoded("the edited text", _in_editor(json.dumps(data, indent=2, ensure_ascii=False) + "\n"))
    if edited == data:
        raise InvalidInput("nothing was changed in the editor")
    return edited


def _in_editor(text: str) -> str:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "letter.json"
        file.write_text(text, encoding="utf-8")
        if subprocess.run([*shlex.split(settings().editor), str(file)], check=False).returncode:
            raise InvalidInput(f"the editor ({settings().editor}) failed; nothing was changed")
        return file.read_text(encoding="utf-8")


def _with_values(data: dict[str, Any], values: Sequence[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(data))
    for one in values:
        path, sign, value = one.partition("=")
        if not sign or not path:
            raise InvalidInput(f"--set {one}: must be PATH=VALUE, e.g. tracking_number=123")
        place = result
        *parents, last = path.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise InvalidInput(f"--set {one}: {parent} is not an object")
        place[last] = _value(value)
    return result


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _decoded(what: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{what}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{what}: must be a JSON object")
    return value


@contextmanager
def replay_bar(*, as_json: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows a replay's progress: one JSON line a step, a bar on a terminal, or nothing."""
    if as_json:
        yield lambda seen: emit({"replayed": seen.replayed, "total": seen.total, **seen.outcomes}, as_json=True)
        return
    if not sys.stderr.isatty():
        yield lambda _seen: None
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TextColumn("{task.description}"))
    with rich.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda seen: bar.update(
            task,
            total=seen.total,
            completed=seen.replayed,
            description=f"{seen.outcomes['applied']} applied, {seen.outcomes['dead']} died again",
        )
    note("")


def result_of(wanted: Sequence[object], data: str | None, *, as_done: bool) -> dict[str, Any]:
    """Return the result from `dead resolve --as-done --data`: JSON, or @ and a file's name. Raises `InvalidInput`."""
    if not as_done or data is None:
        raise InvalidInput("data: --as-done needs --data, and --data needs --as-done: the call's result, JSON or @FILE")
    if len(wanted) != 1:
        raise InvalidInput("letter: --as-done records the result of one letter at a time")
    if not data.startswith("@"):
        return _decoded("data", data)
    try:
        return _decoded(data[1:], Path(data[1:]).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"data: cannot read {data[1:]}: {error.strerror}") from None
