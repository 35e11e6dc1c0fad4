"""Test support for handlers and effects of any domain: see docs/testing.md.

plugin.py      pytest fixtures: a server, a migrated database, a connection, a simulated portal
database.py    the database of the fixtures
cleaner.py     empties it after each test
drain.py       run a real worker until the queue is empty
deliver.py     deliver row by row, without a rescuer, for tests of waking, delays and order
published.py   assert_published(): check the published events
crashes.py     crash_everywhere(): crash at every statement; the final state must be that of a run without faults
cases.py       run the crash cases of a domain's fixtures
isolation.py   the isolation matrix of the domains' fixtures
runs.py        one run of crash_everywhere(), with or without a fault
faults.py      the faults and the points at which they occur
wires.py       connections of a watched process, which can be cut
worker.py      single deliveries and rescues
state.py       the states that are compared
tables.py      save and restore the tables between runs
"""
