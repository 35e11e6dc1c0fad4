"""For tests of handlers and effects, this program's and yours: see docs/testing.md.

plugin.py      pytest fixtures: a server, a migrated database, a connection, a simulated portal
database.py    what the fixtures are made of
drain.py       let a real worker run until nothing is left to do
deliver.py     deliver row by row, without a rescuer, for tests of waking, delays and order
published.py   assert_published(): what was said
crashes.py     crash_everywhere(): wherever a worker dies, the state is that of an undisturbed run
runs.py        one run of it, undisturbed or struck by a fault
faults.py      what can happen to a process, and when
wires.py       its connections, which break when they are told
worker.py      how deliveries are made and rescued
state.py       what is compared
tables.py      how every run starts from the same tables
"""
