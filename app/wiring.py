"""Which handler and which effect serves which event: the only file that knows everyone."""

from __future__ import annotations

from app.engine.domain import Effect, Lockable, Wiring
from app.engine.health import queue, server
from app.engine.inspect.invariants import ENGINE
from app.engine.queue import ordering
from app.logistics import checkups as checkups_logistics
from app.logistics import effects as robots
from app.logistics import ends, revival, wanted
from app.logistics import handlers as logistics
from app.logistics.invariants import LOGISTICS
from app.logistics.store import ROBOT_JOBS
from events import order, robot

WIRING = Wiring(
    handlers={
        robot.JobSubmitted: logistics.job_submitted,
        robot.ItemCompleted: logistics.item_completed,
        robot.JobCompleted: logistics.noted,
        order.OrderUpdated: logistics.noted,
    },
    effects={
        robot.ItemRequested: Effect(
            queue=robots.ROBOTS_QUEUE,
            lanes=robots.lanes,
            prepare=robots.prepare,
            look=wanted.look,
            open_=ends.open_items,
            discard=ends.discard_requests,
            call=robots.enter_order,
            call_key=robots.call_key,
            give_up=robots.give_up,
            close=robots.close,
            result=robot.ItemCompleted,
            ask=revival.ask,
            revive=revival.revive,
            settle=robots.settle,
            account=robots.account_name,
        ),
    },
    locks=(logistics.lock_jobs,),
    lockables=(
        Lockable(ROBOT_JOBS.schema, ROBOT_JOBS.jobs, logistics.job_of),
        Lockable("logistics", "robot_job_items", logistics.item_of),
        Lockable("logistics", "orders", lambda _event: None, logistics.orders_of),
    ),
    forecasts={
        robot.JobSubmitted: revival.forecast_submissions,
        robot.ItemRequested: revival.forecast_requests,
        robot.ItemCompleted: revival.forecast_results,
    },
)

INVARIANTS = (*ENGINE, *ordering.INVARIANTS, *LOGISTICS)
"""Everything that `python cli.py audit` looks up."""

CHECKUPS = (*server.SERVER, *queue.QUEUE, *checkups_logistics.LOGISTICS)
"""Everything that `python cli.py doctor` looks at."""
