"""Chaos: run the whole program under faults for minutes, and compare the result with a model.

stage.py        a separate server, two portals and workspaces, all in one temporary directory
worker_pool.py  worker processes, and a process manager that replaces ended ones
actors.py       threads that repeat an action and tolerate database outages
submitting.py   create orders and submit a job
producer.py     submits jobs: repeated, concurrent, incomplete, or with the commit's answer lost
redelivery.py   delivers events again, late, early, out of order or for the wrong tenant
reused.py       events with the id of another event
tenants.py      a tenant with a large backlog, one whose portal hangs, and a small one
scheduler.py    publishes delayed events in bulk
cancellations.py  cancels orders before and after they are submitted
operator.py     retries failed items, replays dead letters and discards those of cancelled orders
fault_scheduler.py  starts and ends the faults of the deck
deck.py         the order of the faults, determined by the seed alone
faults/         the faults: of workers, of the server, and unrelated load
fault_context.py    the objects that faults act on
recovery.py     time from a fault until interrupted deliveries continue
observer.py     triggers that record commits, independent of the program's tables
waits.py        how long due rows wait while other rows are processed
model.py        what producers submitted and the program accepted
auditor.py      checks the program's invariants during the run
laws.py         checks of the final database; order_laws.py: of cancelled orders; portal_laws.py: of the portals'
                records
ending.py       waits until the run is quiet, checks and counts
run.py          a whole run
report.py       the result of a run

A run uses its own server and portals, so several runs can share one machine.
"""
