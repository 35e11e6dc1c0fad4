"""Checkups of logistics: whether the stored passwords of carriers' portals can be decrypted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from app import sealing
from app.engine.health.doctor import CheckContext, Checkup, Finding
from app.errors import Permanent, SetupError


@dataclass(frozen=True, slots=True)
class _Sealed:
    id: UUID
    workspace_id: UUID
    carrier: str
    portal_password: str


_SEALED = """
SELECT id, workspace_id, carrier, portal_password FROM logistics.carrier_configs
 WHERE portal_password IS NOT NULL ORDER BY workspace_id, carrier
"""


def _passwords(context: CheckContext) -> Iterator[Finding]:
    found = context.service.cursor(row_factory=class_row(_Sealed)).execute(_SEALED).fetchall()
    if not found:
        return
    try:
        keyring = sealing.keyring()
    except SetupError as error:
        yield Finding("problem", "passwords", f"{len(found)} sealed passwords and no key: {error}", "set TALLYMAN_KEYS")
        return
    for one in found:
        try:
            keyring.unseal(one.portal_password, one.workspace_id, one.carrier, one.id)
        except (SetupError, Permanent) as error:
            what = f"workspace {one.workspace_id}: {error}"
            yield Finding(
                "problem", "passwords", what, f"add the key, or `carriers set {one.carrier}` with the password"
            )


LOGISTICS = (Checkup("passwords", _passwords, "every sealed password can be decrypted"),)
