"""A simulated receiver of webhooks, for the demo and the tests. It verifies every signature with the library.

    behaviour.py    the receiver's settings: its secrets, and how it reacts on each path
    record.py       the received requests
    application.py  the HTTP contract
    server.py       the receiver on a free port of the loopback interface, in a thread
    __main__.py     the same as a program: `python -m app.simulators.receiver`

It stands for an external program: it imports nothing from Tallyman. It keeps every request, repeated ones too.
"""

from app.simulators.receiver.application import create_receiver
from app.simulators.receiver.behaviour import Behaviour, Reaction
from app.simulators.receiver.record import Received
from app.simulators.receiver.server import Receiver, serve

__all__ = ["Behaviour", "Reaction", "Received", "Receiver", "create_receiver", "serve"]
