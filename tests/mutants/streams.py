"""Mutants of progress streams: the hub that reads for all viewers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_HUB, _TEST_HUB = "app/engine/hub.py", "tests/engine/test_hub.py"
_VIEWERS, _TEST_VIEWERS = "app/engine/viewers.py", "tests/engine/test_viewers.py"

MUTANTS = (
    Mutant(
        _HUB,
        "        self.viewers.mark_all()\n",
        "        pass\n",
        _TEST_HUB,
        "after a new connection all watched rows are read",
    ),
    Mutant(
        _HUB,
        "now >= answered_at + pace.ask_every",
        "now >= answered_at + 1000",
        _TEST_HUB,
        "a server that does not answer is left",
    ),
    Mutant(
        _HUB,
        "self.viewers.has_stale and now >= read_at + pace.read_every",
        "self.viewers.has_stale",
        _TEST_HUB,
        "a row is read at most once an interval",
    ),
    Mutant(
        _VIEWERS,
        "        self._stale.setdefault(source, set()).add(row_id)\n",
        "",
        _TEST_VIEWERS,
        "a row is read once more after a viewer has joined",
    ),
    Mutant(
        _VIEWERS,
        "if not isinstance(self._news, Closed):",
        "if True:",
        _TEST_VIEWERS,
        "nothing follows the end",
    ),
    Mutant(
        _VIEWERS,
        "        if not rows[row_id]:\n            del rows[row_id]\n",
        "",
        _TEST_VIEWERS,
        "nothing is kept of a row without viewers",
    ),
)
