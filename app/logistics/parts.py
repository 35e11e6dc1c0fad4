"""The declarations of logistics for workers and operators: wiring, invariants, checkups and explainers."""

from __future__ import annotations

from functools import partial

from app.engine.batches import checks, handlers
from app.engine.batches.parts import tenant_of
from app.engine.batches.wiring import wiring
from app.engine.domain import Effect, Lockable, Wiring
from app.engine.registration import Explainer, Parts
from app.logistics import checkups, effects, invariants, lookup, wanted
from app.logistics.explain import explain_item, explain_job, with_carriers
from app.logistics.results import orders_of
from app.logistics.store import ROBOT_JOBS
from events import order

_JOBS = wiring(
    ROBOT_JOBS,
    Effect(
        queue=effects.ROBOTS_QUEUE,
        limits=effects.limits,
        prepare=effects.prepare,
        recheck=wanted.recheck,
        call=effects.enter_order,
        give_up=effects.give_up,
        close=effects.close,
        ask=lookup.ask,
        account=effects.ACCOUNT,
    ),
)
_ORDERS = Wiring(
    handlers={order.OrderUpdated: handlers.ignore},
    effects={},
    # Lock order: orders come after the jobs and items of the batch.
    lockables=(Lockable("logistics", "orders", lambda _event: None, orders_of),),
)

PARTS = Parts(
    wirings=(_JOBS, _ORDERS),
    invariants=(*checks.invariants(ROBOT_JOBS), *invariants.LOGISTICS),
    checkups=(*checks.checkups(ROBOT_JOBS), *checkups.LOGISTICS),
    explainers=(
        Explainer(
            job=explain_job, item=explain_item, tenant=with_carriers, tenant_of=partial(tenant_of, batch=ROBOT_JOBS)
        ),
    ),
)
