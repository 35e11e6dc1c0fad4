"""`bench plot`: draw a picture of each report: a bar for each contender, with whiskers to its lowest and highest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from app.bench.report import figure
from app.errors import InvalidInput, SetupError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN = 8.0
_BAR_IN = 0.36
_PANEL_IN = 0.9
"""Inches of a panel's title and axis."""
_OURS, _PLAIN, _LIMIT = "#2f6f9f", "#c0504d", "#9a9a9a"


class _Measured(BaseModel):
    """A contender's figures of all rounds."""

    what: str
    contender: str
    unit: str
    median: float
    values: tuple[float, ...]


class _Report(BaseModel):
    """The drawn part of a report."""

    bench: str
    conditions: dict[str, Any]
    measured: list[_Measured]


def plot(files: Sequence[Path], directory: Path) -> list[Path]:
    """Draw the reports in `files`, one JSON document a line, to `<directory>/<bench>.png`. Returns the paths.

    Raises `InvalidInput` for a file without reports or several reports of one benchmark, `SetupError` without
    matplotlib, and `OSError` for files that cannot be read or written.
    """
    reports = [report for file in files for report in _read(file)]
    twice = {report.bench for report in reports if sum(one.bench == report.bench for one in reports) > 1}
    if twice:
        raise InvalidInput(f"FILES: several reports of {', '.join(sorted(twice))}; a picture shows one")
    directory.mkdir(parents=True, exist_ok=True)
    return [_draw(report, directory / f"{report.bench}.png") for report in reports]


def _read(file: Path) -> list[_Report]:
    lines = file.read_text(encoding="utf-8").splitlines()
    try:
        reports = [_Report.model_validate_json(line) for line in lines if line.strip()]
    except (ValidationError, UnicodeDecodeError) as error:
        raise InvalidInput(f"FILES: {file} must contain only reports of `bench … --json`, one a line") from error
    if not reports:
        raise InvalidInput(f"FILES: {file} contains no report")
    return reports


def _draw(report: _Report, path: Path) -> Path:
    panels = [(what, list(found)) for what, found in groupby(_by_panel(report.measured), key=lambda one: one.what)]
    heights = [_PANEL_IN + _BAR_IN * len(found) for _, found in panels]
    picture = _figure(_WIDTH_IN, sum(heights) + _PANEL_IN)
    axes = picture.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for panel, (what, found) in zip(axes, panels, strict=True):
        _draw_panel(panel, what, found)
    picture.suptitle(f"bench {report.bench}", fontsize=12)
    picture.supxlabel(_conditions(report.conditions), fontsize=7)
    picture.savefig(path, dpi=150)
    return path


def _by_panel(measured: Iterable[_Measured]) -> list[_Measured]:
    """Group figures by `what`, in the order of first occurrence."""
    found = list(measured)
    order = list(dict.fromkeys(one.what for one in found))
    return sorted(found, key=lambda one: order.index(one.what))


def _draw_panel(panel: Axes, what: str, found: Sequence[_Measured]) -> None:
    names = [one.contender for one in found]
    medians = [one.median for one in found]
    below = [one.median - min(one.values) for one in found]
    above = [max(one.values) - one.median for one in found]
    colours = [_colour(name) for name in names]
    bars = panel.barh(names, medians, xerr=(below, above), color=colours, capsize=3, ecolor="#222222")
    panel.bar_label(bars, labels=[f"  {figure(median)}" for median in medians], fontsize=8)
    panel.invert_yaxis()
    panel.margins(x=0.15)
    panel.set_title(f"{what}, {found[0].unit}", fontsize=9, loc="left")
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _colour(contender: str) -> str:
    if contender.startswith("plain"):
        return _PLAIN
    return _LIMIT if contender.startswith("limit") else _OURS


def _conditions(found: dict[str, Any]) -> str:
    server = found.get("server", {})
    settings = ", ".join(f"{name}={server.get(name, '?')}" for name in ("fsync", "synchronous_commit"))
    return (
        f"{found.get('cores', '?')} cores, client and server on one machine; PostgreSQL"
        f" {server.get('server_version', '?')}, {settings}; medians, whiskers to the lowest and the highest round"
    )


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure that needs no display. Raises `SetupError` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - only drawing needs it
        from matplotlib.figure import Figure  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        raise SetupError(
            "matplotlib is not installed: install the development packages,"
            " `.venv/bin/python -m pip install -r requirements-dev.lock`"
        ) from error
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made
