"""A carrier's portal, in the manner of Coordinadora: what the demo, the tests and the chaos runs enter orders into.

    behaviour.py    what the portal is told to do: its settings, and what becomes of one order
    record.py       what it did: every order that it accepted, and its counters
    sessions.py     who is logged in
    application.py  the HTTP contract
    server.py       the portal on a free port of the loopback interface, in a thread
    __main__.py     the same as a program: `python -m app.simulators.portal`

It is somebody else's program: it imports nothing of ours and knows nothing of jobs and items. Above all it does not
recognise a reference that it has seen before. An order that is entered twice is two parcels, and the record says so.
"""

from app.simulators.portal.application import create_portal
from app.simulators.portal.behaviour import Behaviour, OrderForm, Rule
from app.simulators.portal.record import Entry, Record, Summary
from app.simulators.portal.server import Portal, serve

__all__ = ["Behaviour", "Entry", "OrderForm", "Portal", "Record", "Rule", "Summary", "create_portal", "serve"]
