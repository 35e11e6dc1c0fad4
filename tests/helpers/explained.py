"""Explanations as `cli.py explain` shows them, of the engine and all domains."""

from __future__ import annotations

from uuid import UUID

from app.context import Connection
from app.engine.inspect.explain import explain
from app.engine.inspect.reasons import Reason
from app.engine.registration import explain_one, explain_tenant
from app.program import EXPLAINERS


def explain_job(connection: Connection, job_id: UUID) -> list[Reason]:
    """Return why a job has not ended, or how it ended. Raises `NotFound`."""
    return explain_one(EXPLAINERS, "job", connection, job_id)


def explain_item(connection: Connection, item_id: UUID) -> list[Reason]:
    """Return why an item has no result, or its result. Raises `NotFound`."""
    return explain_one(EXPLAINERS, "item", connection, item_id)


def explain_workspace(connection: Connection, workspace_id: UUID) -> list[Reason]:
    """Return why events of a workspace wait, and which of its carriers cannot be used."""
    waiting = explain(connection, {"tenantid": str(workspace_id)})
    return explain_tenant(EXPLAINERS, connection, workspace_id, waiting)
