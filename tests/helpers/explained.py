"""Explanations as `cli.py explain` gives them: of the engine and of every domain."""

from __future__ import annotations

from uuid import UUID

from app.context import Connection
from app.engine.inspect.explain import explain
from app.engine.inspect.reasons import Reason
from app.engine.registration import explain_one, explain_tenant
from app.program import EXPLAINERS


def explain_job(connection: Connection, job_id: UUID) -> list[Reason]:
    """Why a job has not ended, or that it has. Raises `NotFound`."""
    return explain_one(EXPLAINERS, "job", connection, job_id)


def explain_item(connection: Connection, item_id: UUID) -> list[Reason]:
    """Why an item has no result, or which one it has. Raises `NotFound`."""
    return explain_one(EXPLAINERS, "item", connection, item_id)


def explain_workspace(connection: Connection, workspace_id: UUID) -> list[Reason]:
    """Why events of a workspace wait, and which of its carriers cannot be used."""
    waiting = explain(connection, {"tenantid": str(workspace_id)})
    return explain_tenant(EXPLAINERS, connection, workspace_id, waiting)
