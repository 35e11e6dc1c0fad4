"""Chaos: the whole program under faults, for minutes, and a model that knows what must be true afterwards.

stage.py        a server, two portals and workspaces of this run's own, all in one temporary directory
worker_pool.py  workers as processes, and a process manager that starts a new one for each that ended
actors.py       threads that keep doing something whatever the database does
submitting.py   orders, and the submit of a job
producer.py     submits jobs: twice, at once, half way, with the answer to its commit lost
redelivery.py   delivers events again, late, early, out of order, in a stranger's name
reused.py       events with the id of another event
tenants.py      a tenant that floods, one whose portal hangs, and a small one beside them
scheduler.py    publishes events in bulk that are due later
cancellations.py  cancels orders before and after they are submitted
operator.py     retries failed items, replays dead letters and discards those of cancelled orders
fault_scheduler.py  does the faults of the deck and undoes them
deck.py         which fault comes when, decided by the seed alone
faults/         the faults: what is done to workers, to the server, and unrelated load
fault_context.py    what they act on
recovery.py     how long after a fault the work that was in hand goes on
observer.py     triggers that write down what was committed: the run's own memory, beside the program's
waits.py        for how long due rows lie in the queue while others are served
model.py        what the outside world was promised
auditor.py      looks the program's invariants up on the way
laws.py         what must be true of the database at the end; order_laws.py, of cancelled orders; portal_laws.py, of
                the portals' books
ending.py       waits until it is quiet, compares and counts
run.py          all of it together
report.py       what came of it

It runs on a server and a portal of its own, so two runs can be under way on one machine.
"""
