"""Ask carriers' portals about requests whose calls may have been made."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.engine.batches.store import item_states
from app.errors import NotCalled
from app.logistics import carriers, traces
from app.logistics.effects import account, portal
from app.logistics.gateway import PortalError
from app.logistics.store import ROBOT_JOBS
from events import Event
from events.robot import ItemRequested


async def ask(requested: Sequence[Event[ItemRequested]]) -> dict[UUID, str]:
    """Ask the portals about requests whose calls may have been made. Returns answers as text, by event id."""
    from app import database  # noqa: PLC0415 - only an admin's command needs it

    keys = sorted({(event.tenantid, event.data.carrier) for event in requested if event.tenantid})
    with database.connect() as connection:
        configs = carriers.portal_configs(connection, keys)
        items = item_states(connection, ROBOT_JOBS, [event.data.item_id for event in requested])
        references = {item_id: one.references for item_id, one in traces.find(connection, items.values()).items()}
    said: dict[UUID, str] = {}
    for event in requested:
        config = configs.get((event.tenantid, event.data.carrier)) if event.tenantid else None
        if config is None or not config.is_ready:
            said[event.id] = "the portal was not asked: the carrier is disabled or has no credentials"
            continue
        if event.data.item_id not in references:
            said[event.id] = "the portal was not asked: the item is gone"
            continue
        try:
            found = await portal().find(account(config), references[event.data.item_id])
        except (PortalError, NotCalled) as error:
            said[event.id] = f"the portal could not be asked: {error}"
        else:
            entered = next(iter(found.values()), None)
            said[event.id] = (
                f"the portal has it as {entered.tracking_number}: the replay records that and enters nothing"
                if entered
                else "the portal does not know it: the replay enters it"
            )
    return said
