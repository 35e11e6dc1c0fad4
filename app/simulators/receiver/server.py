"""A running receiver in the same process, for tests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.simulators.receiver.application import Desk, create_receiver
from app.simulators.receiver.behaviour import Behaviour
from app.simulators.receiver.record import Received
from app.simulators.running import Running
from app.simulators.serving import in_thread


class Receiver(Running[Behaviour, Desk]):
    """A running receiver in the same process."""

    @property
    def received(self) -> Sequence[Received]:
        """Return the received requests that were answered or given up, in this order."""
        return self.desk.received

    def most_at_once(self, path: str) -> int:
        """Return the most concurrent requests to a path."""
        return self.desk.most_at_once[path]


@contextmanager
def serve(behaviour: Behaviour | None = None) -> Iterator[Receiver]:
    """Run a receiver in a separate thread during the block. Raises `RuntimeError` if it does not start."""
    with in_thread(create_receiver(behaviour or Behaviour(), clock=time.time), "receiver") as (url, server):
        yield Receiver(url, server)
