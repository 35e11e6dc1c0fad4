"""Options of the programs that run a simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import typer
from pydantic import ValidationError

from app.simulators.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)


def settings_of(kind: type[SettingsT], text: str, flags: Mapping[str, Any]) -> SettingsT:
    """Return the settings of a JSON object, overridden by flags. A flag that is None was not given.

    Raises `typer.BadParameter`.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return kind.model_validate_json(text).changed(**given)
    except ValidationError as error:
        raise typer.BadParameter(str(error)) from None


def pairs(given: Sequence[str], form: str) -> list[tuple[str, str]]:
    """Return the parts of each text before and after its first colon. `form`: the form that the error names.

    Raises `typer.BadParameter` for a text without one of the parts.
    """
    found = [(before, after) for before, _, after in (text.partition(":") for text in given)]
    if not all(before and after for before, after in found):
        raise typer.BadParameter(f"an account is {form}")
    return found
