"""Chaos: run the whole program under faults for minutes, and compare the result with a model.

part.py         a domain's part of a run: its jobs, simulators, actors, faults and laws (`Fixtures.chaos`)
setup.py        a separate server in a temporary directory, and the parts of the installed domains
stage.py        the server and its connections
worker_pool.py  worker processes, and a process manager that replaces ended ones
actors.py       threads that repeat an action and tolerate database outages
producer.py     submits jobs: repeated, concurrent, incomplete, or with the commit's answer lost (submitting.py)
redelivery.py   delivers waiting and applied events again, and entries that are no event
results.py      results of items that no effect published: late, early, foreign, for another tenant (item_results.py),
                or with the id of another event (reused.py)
scheduler.py    publishes delayed events in bulk
operator.py     retries failed items, cancels jobs, edits and replays dead letters
fault_scheduler.py  starts and ends the faults of the deck
deck.py         the order of the faults, determined by the seed alone
faults/         the faults: of workers, of the server, locks of jobs and items, and unrelated load
fault_context.py    the objects that faults act on
recovery.py     time from a fault until interrupted deliveries continue
observer.py     triggers that record commits, independent of the program's tables
waits.py        how long due rows wait while other rows are processed
model.py        what producers submitted and the program accepted
auditor.py      checks the program's invariants during the run
laws.py         checks of the final database; job_laws.py: of jobs and items
ending.py       waits until the run is quiet, checks and counts
run.py          a whole run
report.py       the result of a run

Nothing here knows a domain. A run uses its own server and simulators, so several runs can share one machine.
"""
