"""The Procrastinate app: `procrastinate --app=app.engine.queue.app worker` starts a complete worker.

Procrastinate fetches rows, keeps heartbeats and listens. `consume` and `perform` process the rows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Unpack
from weakref import WeakSet

import procrastinate
import structlog
from procrastinate.app import WorkerOptions
from procrastinate.worker import Worker
from psycopg_pool import AsyncConnectionPool

from app import database, sealing
from app.engine import event_types, metrics
from app.engine.delivery.consume import consume
from app.engine.delivery.engine import Engine
from app.engine.domain import Policy, wiring
from app.engine.effects.execute import perform
from app.engine.queue import connections
from app.engine.queue.envelope import may_hold_events
from app.engine.queue.fair_share import FairShare
from app.engine.queue.job_manager import FencedManager
from app.engine.queue.lease import Delivery
from app.engine.queue.notifications import LatchedNotification
from app.engine.queue.workers import fair_share_of_introduced, introduce
from app.engine.routing import EVENTS_PRIORITY
from app.engine.worker import metrics_port, stopping
from app.engine.worker.liveness import Session, SessionLost
from app.engine.worker.preflight import check, check_schema
from app.engine.worker.prune import prune
from app.engine.worker.stopping import to_the_end
from app.engine.worker.upkeep import upkeep
from app.settings import settings

log = structlog.get_logger(__name__)

_PLANNER = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
"""Planner settings of Procrastinate's own connections, which run only its queue statements.

With the statistics of an empty table, the planner would sort all waiting rows at each fetch. These settings make it
read the index in order.
"""


class Sealed:
    """Placeholder for a row's arguments: Procrastinate copies and logs what it loads, so events are not loaded."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def __repr__(self) -> str:
        return f"<{self.size} bytes>"


def load_arguments(text: str | bytes) -> Any:
    """Load JSON for Procrastinate. Arguments of our tasks stay sealed: they are read where the row is claimed."""
    raw = text.encode() if isinstance(text, str) else bytes(text)
    if may_hold_events(raw):
        return {"sealed": Sealed(len(raw))}
    try:
        return json.loads(raw)
    except ValueError:
        # A number that Python cannot parse must not stop all fetches.
        return {"sealed": Sealed(len(raw))}


class _Pool(AsyncConnectionPool[Any]):
    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:  # noqa: ASYNC109, FBT001, FBT002 - psycopg's interface
        """Open, and wait for as long as it can take to try every host."""
        await super().open(wait, max(timeout, self.timeout))


def _pool(**options: Any) -> AsyncConnectionPool[Any]:
    options["check"] = database.check_connection_async
    return _Pool(database.conninfo(**_PLANNER), timeout=database.pool_timeout(), **options)


def fresh_connector(least: int = connections.QUEUE_POOL[0]) -> procrastinate.PsycopgConnector:
    """Return a worker's connector with its own pool: the app's pool cannot be opened again in another event loop.

    `least`: connections that the pool opens before they are needed.
    """
    most = connections.QUEUE_POOL[1]
    return procrastinate.PsycopgConnector(json_loads=load_arguments, pool_factory=_pool, min_size=least, max_size=most)


def _defaults() -> WorkerOptions:
    given = settings()
    return {
        "concurrency": 4,
        "delete_jobs": "successful",
        "fetch_job_polling_interval": given.polling_interval,
        "shutdown_graceful_timeout": stopping.patience(),
        "update_heartbeat_interval": given.heartbeat_interval,
        "stalled_worker_timeout": given.stalled_after,
    }


class Application(procrastinate.App):
    """Procrastinate's app with a fenced manager, and with the resources that deliveries need around each worker."""

    engine: Engine
    session: Session

    def __init__(self) -> None:
        super().__init__(connector=fresh_connector())
        self._workers: WeakSet[Worker] = WeakSet()
        self.job_manager: FencedManager = FencedManager(self.connector)

    async def run_worker_async(self, **options: Unpack[WorkerOptions]) -> None:
        """Run a worker until it is asked to stop. Raises `SetupError` if the server or the schema is unsuitable."""
        full: WorkerOptions = {**_defaults(), **options}
        self.job_manager.is_stopping = False
        if full.get("install_signal_handlers", True):
            with metrics_port.serving(), stopping.listening(self.told_to_stop) as stop:
                await stop.run(self._keep_serving(full))
        else:
            await self._keep_serving(full)

    async def _keep_serving(self, options: WorkerOptions) -> None:
        while True:
            try:
                async with self.at_work(options["concurrency"]):
                    return await self.serve(**options)
            except SessionLost as error:
                log.warning("starting over", why=str(error))

    def told_to_stop(self) -> None:
        """Stop retrying writes of delivery ends: other workers rescue what cannot be recorded."""
        self.job_manager.is_stopping = True

    async def serve(self, **options: Unpack[WorkerOptions]) -> None:
        """Run a worker inside `at_work()` until it is asked to stop.

        Without `queues` it serves all queues of this program; other programs may have queues in the same database.
        Raises `SessionLost` if the process's session has ended: other workers then rescue its deliveries.
        """
        queues = list(options.get("queues") or wiring().queues())
        full: WorkerOptions = {**_defaults(), **options, "queues": queues, "install_signal_handlers": False}
        fair_share = FairShare(full["concurrency"])
        introduce(full.get("name"), queues, fair_share)
        watch = asyncio.create_task(self.job_manager.watch(fair_share, queues))
        lost = self.session.lost
        working = asyncio.create_task(super().run_worker_async(**full), name="worker")
        try:
            await asyncio.wait({working, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            if not working.done():
                if lost.done():
                    self._stop_at_once()
                working.cancel()
            await to_the_end({working})
        if working.cancelled():
            raise SessionLost("the session of this worker has ended: it stops its deliveries and starts over")
        working.result()

    def _stop_at_once(self) -> None:
        for worker in self._workers:
            worker.shutdown_graceful_timeout = 0
        database.hang_up_pools()

    async def run_workers(self, workers: Sequence[WorkerOptions]) -> None:
        """Run several workers side by side in this process, until they are cancelled or one of them ends."""
        self.job_manager.is_stopping = False
        full: list[WorkerOptions] = [{**_defaults(), **options} for options in workers]
        async with self.at_work(sum(options["concurrency"] for options in full)):
            running = {asyncio.create_task(self.serve(**options)) for options in full}
            try:
                ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for worker in ended:
                    worker.result()
            finally:
                # All workers stop together, each after its deliveries. A second cancellation does not shorten that.
                self.job_manager.is_stopping = True
                for worker in running:
                    worker.cancel()
                await to_the_end(running)

    def _worker(self, **options: Unpack[WorkerOptions]) -> Worker:
        worker = super()._worker(**options)
        worker._new_job_event = LatchedNotification(fair_share_of_introduced())  # noqa: SLF001 - no public way
        self._workers.add(worker)
        return worker

    @asynccontextmanager
    async def at_work(self, concurrency: int) -> AsyncIterator[None]:
        """Set up what deliveries need: threads, connection pool, the session of this process, upkeep and promotion.

        `concurrency`: most deliveries at once, over all workers of the process.
        """
        # A delivery uses at most one connection, and another one to record outcomes while calls run.
        threads = ThreadPoolExecutor(max_workers=2 * concurrency + 2, thread_name_prefix="tallyman")
        asyncio.get_running_loop().set_default_executor(threads)
        least, most = connections.deliveries(concurrency)
        pool = await asyncio.to_thread(database.pool, min_size=least, max_size=most)
        given = settings()
        self.engine = Engine(pool, Policy(given.most_attempts, given.retry_base, given.retry_cap))
        try:
            await asyncio.to_thread(self._check)
            async with self._alive(), upkeep(pool) as promoter:
                # Once before the workers begin, so that a worker that runs without waiting finds the rows that are due.
                await promoter.promote_due()
                self.job_manager.on_delayed = promoter.wake
                try:
                    yield
                finally:
                    await self._hang_up()
        finally:
            await asyncio.to_thread(pool.close)

    @asynccontextmanager
    async def _alive(self) -> AsyncIterator[None]:
        self.session = await Session.open()
        self.job_manager.session_key = self.session.key
        try:
            yield
        finally:
            self.job_manager.session_key = None
            await self.session.close()

    async def _hang_up(self) -> None:
        for effect in wiring().effects.values():
            if effect.close is not None:
                await effect.close()

    def _check(self) -> None:
        served = wiring()  # imported now: it takes a second, which should not delay a first delivery or a stop
        metrics.expect((kind.type for kind in served.handlers), [kind.type for kind in served.effects])
        if settings().keys is not None:
            sealing.keyring()  # unreadable keys would turn every effect into a dead letter
        with self.engine.pool.connection() as connection:
            check_schema(connection)
            check(connection)
            event_types.register(connection)


app = Application()

_RETRY = procrastinate.RetryStrategy(wait=2)
"""Procrastinate's own retry applies only if no transaction of a delivery could commit."""


def _delivery(context: procrastinate.JobContext) -> Delivery:
    job = context.job
    if job.id is None:
        raise TypeError(job)
    return Delivery(job.id, job.attempts, job.worker_id)


def _consume(context: procrastinate.JobContext, *, siblings: bool) -> None:
    delivery = _delivery(context)
    consume(app.engine, delivery, siblings=siblings)
    # Whatever became of its events: their transaction has removed the row, or the row is another worker's now.
    app.job_manager.removed.add(delivery.row_id)


@app.task(name="consume", queue="events", retry=_RETRY, pass_context=True)
def consume_one(context: procrastinate.JobContext, /, **_arguments: Any) -> None:
    """Deliver an event, with its waiting siblings."""
    _consume(context, siblings=True)


@app.task(name="consume_parcel", queue="events", retry=_RETRY, pass_context=True)
def consume_batch(context: procrastinate.JobContext, /, **_arguments: Any) -> None:
    """Deliver a batch of events that were published together."""
    _consume(context, siblings=False)


# Another program in the database may have a periodic task and a queueing lock of the same name.
@app.periodic(cron="*/15 * * * *", periodic_id="tallyman")
@app.task(name="prune", queue="events", queueing_lock="tallyman/prune", priority=EVENTS_PRIORITY, pass_context=True)
def prune_now(_context: procrastinate.JobContext, timestamp: int) -> None:  # noqa: ARG001 - Procrastinate's signature of a periodic task
    """Every 15 minutes, once over all workers: delete rows that are past their retention time."""
    with app.engine.pool.connection() as connection:
        prune(connection)


@app.task(name="perform", queue="effects", retry=_RETRY, pass_context=True)
async def perform_batch(context: procrastinate.JobContext, /, **_arguments: Any) -> None:
    """Deliver a batch of effects: make their calls to the outside world."""
    delivery = _delivery(context)
    await perform(app.engine, delivery, app.job_manager.running_delivery(delivery.worker_id, delivery.row_id))
