"""A simulated marketplace that sells pages of products and sellers, for the demo, the tests and the benchmarks.

    behaviour.py    the marketplace's settings, and the outcome of one call that costs money
    catalogue.py    the pages of a category, from a seed, and what their texts mean
    spellings.py    the spellings of prices, product ids and seller names
    ledger.py       what it charged, and counters
    desk.py         one marketplace's state
    selling.py      the calls that cost money
    application.py  the HTTP contract
    server.py       the marketplace on a free port of the loopback interface, in a thread
    __main__.py     the same as a program: `python -m app.simulators.marketplace`

It stands for an external program: it imports nothing from Tallyman and has no runs and items. Whether it charges a
reference twice is a setting; the ledger shows both charges.
"""

from app.simulators.marketplace.application import create_marketplace
from app.simulators.marketplace.behaviour import Behaviour, Category, Form, ItemRule, Rule
from app.simulators.marketplace.ledger import Charge, Ledger, Summary
from app.simulators.marketplace.server import Marketplace, serve

__all__ = [
    "Behaviour",
    "Category",
    "Charge",
    "Form",
    "ItemRule",
    "Ledger",
    "Marketplace",
    "Rule",
    "Summary",
    "create_marketplace",
    "serve",
]
