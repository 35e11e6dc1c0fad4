"""Batch jobs: jobs with items, for any domain.

A domain declares a `Batch`: its tables, columns, status words and events. The functions of this package take the batch
and provide submit with an idempotency key, counters, one completion a generation, retry of failed items as the next
generation, revival of dead requests, forecasts for replay plans, reasons for `explain`, invariants for `audit`, and
checkups for `doctor`:

    PRINTS = Batch(name="print job", command="prints", schema="postcards", jobs="print_jobs", items="cards", …)
    job = submit(context, PRINTS, [{"address": "…", "text": "…"}], idempotency_key="day-1")
    PARTS = parts(PRINTS, effect(PRINTS, queue="printshop", call=print_card, find=find_card))

Parameters: the connection or context comes first, the batch second. Lock order: jobs by id, then items by id.
"""

from __future__ import annotations

from app.engine.batches.checks import checkups, invariants
from app.engine.batches.effects import Work, effect, serve
from app.engine.batches.ends import Cancelled, cancel, record_item
from app.engine.batches.explainers import OwnReasons, explain_item, explain_job
from app.engine.batches.lifecycle import JobPage, get_job, get_page, list_jobs, set_status, submit
from app.engine.batches.parts import parts
from app.engine.batches.results import Applied, Result
from app.engine.batches.retry import Retried, retry_failed
from app.engine.batches.rows import Item, Job
from app.engine.batches.tables import Batch, JobTable
from app.engine.batches.wiring import wiring

__all__ = [
    "Applied",
    "Batch",
    "Cancelled",
    "Item",
    "Job",
    "JobPage",
    "JobTable",
    "OwnReasons",
    "Result",
    "Retried",
    "Work",
    "cancel",
    "checkups",
    "effect",
    "explain_item",
    "explain_job",
    "get_job",
    "get_page",
    "invariants",
    "list_jobs",
    "parts",
    "record_item",
    "retry_failed",
    "serve",
    "set_status",
    "submit",
    "wiring",
]
