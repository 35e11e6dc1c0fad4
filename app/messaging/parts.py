"""The declarations of messaging for workers and operators: wiring, invariants, checkups and explainers."""

from __future__ import annotations

from app.engine.domain import Lockable, Wiring
from app.engine.registration import Explainer, Parts
from app.messaging import checkups, effects, explain, forecasts, handlers, invariants
from events import messaging

_MESSAGES = Wiring(
    handlers={
        messaging.JobSubmitted: handlers.job_submitted,
        messaging.ProcessingCompleted: handlers.processing_completed,
        messaging.JobCompleted: handlers.ignore,
        messaging.Webhook: handlers.webhook,
    },
    effects={messaging.ProcessingRequested: effects.EFFECT},
    forecasts={messaging.Webhook: forecasts.requests, messaging.ProcessingRequested: forecasts.processing},
    locks=(handlers.lock,),
    lockables=(Lockable("messaging", "jobs", handlers.job_of),),
)

PARTS = Parts(
    wirings=(_MESSAGES,),
    invariants=invariants.MESSAGING,
    checkups=checkups.MESSAGING,
    explainers=(Explainer(job=explain.explain_job),),
    tables=("messaging.users", "messaging.user_aliases", "messaging.jobs", "messaging.endpoints"),
)
