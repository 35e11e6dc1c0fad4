"""The golden files of all versions of the program's events."""

from __future__ import annotations

from pathlib import Path

from events.base import KINDS

GOLDEN = sorted((Path(__file__).parent.parent / "events" / "golden").glob("*.json"))
OWN = {name for name, kind in KINDS.items() if kind.payload.__module__.startswith("events.") and not kind.subscriber}
"""The types of this program. Tests declare others, and which of those are known depends on what was imported."""
