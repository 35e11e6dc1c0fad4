"""A simulated carrier's portal, similar to Coordinadora's, for the demo, the tests and the chaos runs.

    behaviour.py    the portal's settings, and the outcome of one order call
    record.py       the accepted orders, and counters
    sessions.py     the open sessions
    application.py  the HTTP contract
    server.py       the portal on a free port of the loopback interface, in a thread
    __main__.py     the same as a program: `python -m app.simulators.portal`

It stands for an external program: it imports nothing from Tallyman and has no jobs and items. It does not deduplicate
references: an order that is entered twice is two parcels, and the record shows both.
"""

from app.simulators.portal.application import create_portal
from app.simulators.portal.behaviour import Behaviour, OrderForm, Rule
from app.simulators.portal.record import Entry, Record, Summary
from app.simulators.portal.server import Portal, serve

__all__ = ["Behaviour", "Entry", "OrderForm", "Portal", "Record", "Rule", "Summary", "create_portal", "serve"]
