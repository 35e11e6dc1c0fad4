"""Parameters that several routers have."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Header, Path

EXAMPLE_ID = "0199f2d4-7f1e-7c3a-9d52-3d1f6f0c8a11"

WorkspaceId = Annotated[UUID, Path(description="A workspace, whose member you are.", examples=[EXAMPLE_ID])]
OrgId = Annotated[UUID, Path(description="An organisation, whose member you are.", examples=[EXAMPLE_ID])]
TenantId = Annotated[
    UUID, Path(description="A workspace or an organisation, whose admin you are.", examples=[EXAMPLE_ID])
]
JobId = Annotated[UUID, Path(description="The job.", examples=[EXAMPLE_ID])]
RunId = Annotated[UUID, Path(description="The run.", examples=[EXAMPLE_ID])]
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,200}$",
        description="Identifies this request: 1 to 200 printable ASCII characters without spaces.",
        examples=["orders-2026-11-28"],
    ),
]
