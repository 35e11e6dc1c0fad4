"""Mutants of progress streams, from the hub that reads for all viewers to the server that ends them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_HUB, _TEST_HUB = "app/engine/hub.py", "tests/engine/test_hub.py"
_VIEWERS, _TEST_VIEWERS = "app/engine/viewers.py", "tests/engine/test_viewers.py"
_STREAMS, _TEST_STREAMS = "app/web/streams.py", "tests/web/test_streams.py"
_SERVING, _TEST_SERVING = "app/web/serving.py", "tests/web/test_serving.py"

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
    Mutant(
        _HUB,
        "database.hang_up_pools()",
        "pass",
        _TEST_HUB,
        "threads that wait for a frozen server go on",
    ),
    Mutant(
        _STREAMS,
        "if (its_id := event_id(news)) != sent:",
        "if its_id := event_id(news):",
        _TEST_STREAMS,
        "a client that has the current state does not get it again",
    ),
    Mutant(
        _STREAMS,
        'return Closed("gone") if seen is None else None',
        "return None",
        _TEST_STREAMS,
        "a person who loses access loses the stream",
    ),
    Mutant(
        _STREAMS,
        "if now >= self._expires_at:",
        "if now >= self._expires_at + 1000:",
        _TEST_STREAMS,
        "a stream ends with its token",
    ),
    Mutant(
        _STREAMS,
        "if state.is_over and event_id(state) == self.last_event_id:",
        "if False:",
        _TEST_STREAMS,
        "a client that has the last state is told to stop",
    ),
    Mutant(
        _STREAMS,
        'yield _close("error")',
        'yield ServerSentEvent(event="end", data={})',
        _TEST_STREAMS,
        "a failure does not look like the end",
    ),
    Mutant(
        _SERVING,
        "        streams.stop(self._app)\n",
        "",
        _TEST_STREAMS,
        "a stop tells the viewers to come back",
    ),
    Mutant(
        _SERVING,
        "socket.TCP_USER_TIMEOUT, self._unread_ms",
        "socket.TCP_NODELAY, 1",
        _TEST_STREAMS,
        "a viewer that does not read is disconnected",
    ),
    Mutant(
        _SERVING,
        "self.loop.call_later(self._head_s, self.transport.abort)",
        "self.loop.call_later(1000, self.transport.abort)",
        _TEST_SERVING,
        "a client that sends no complete head is disconnected",
    ),
)
