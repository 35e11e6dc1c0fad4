"""The Procrastinate app: `procrastinate --app=app.engine.queue.app worker` starts a worker that does everything.

Procrastinate fetches rows, keeps heartbeats and listens; what a row means is `consume` and `perform`.
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
from app.engine import event_types
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
from app.engine.worker import stopping
from app.engine.worker.liveness import Session, SessionLost
from app.engine.worker.preflight import check, check_schema
from app.engine.worker.prune import prune
from app.engine.worker.stopping import to_the_end
from app.engine.worker.upkeep import upkeep
from app.settings import settings

log = structlog.get_logger(__name__)

_PLANNER = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
"""For Procrastinate's own connections, which do nothing but its queue statements: with the statistics of an empty
table its fetch would sort every waiting row; so it always reads the index in its order."""


class Sealed:
    """A row's arguments, unopened: Procrastinate copies and prints what it can see, so it sees nothing."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def __repr__(self) -> str:
        return f"<{self.size} bytes>"


def load_arguments(text: str | bytes) -> Any:
    """Procrastinate's `json_loads`: the arguments of our tasks stay sealed, they are read where the row is claimed."""
    raw = text.encode() if isinstance(text, str) else bytes(text)
    if may_hold_events(raw):
        return {"sealed": Sealed(len(raw))}
    try:
        return json.loads(raw)
    except ValueError:
        # A number that Python does not read must not keep every worker from fetching anything.
        return {"sealed": Sealed(len(raw))}


class _Pool(AsyncConnectionPool[Any]):
    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:  # noqa: ASYNC109, FBT001, FBT002 - psycopg's interface
        """Open, and wait for as long as it can take to try every host."""
        await super().open(wait, max(timeout, self.timeout))


def _pool(**options: Any) -> AsyncConnectionPool[Any]:
    return _Pool(database.conninfo(**_PLANNER), timeout=database.pool_timeout(), **options)


def fresh_connector() -> procrastinate.PsycopgConnector:
    """The connector of a worker, with a pool of its own: the app's cannot be opened again in another event loop."""
    least, most = connections.QUEUE_POOL
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
    """Procrastinate's app with a fenced manager and, around each worker, what our two tasks need."""

    engine: Engine
    session: Session

    def __init__(self) -> None:
        super().__init__(connector=fresh_connector())
        self._workers: WeakSet[Worker] = WeakSet()
        self.job_manager: FencedManager = FencedManager(self.connector)

    async def run_worker_async(self, **options: Unpack[WorkerOptions]) -> None:
        """Run a worker until it is told to stop. Raises `SetupError` on a server that it must not trust."""
        full: WorkerOptions = {**_defaults(), **options}
        self.job_manager.is_stopping = False
        if full.get("install_signal_handlers", True):
            with stopping.listening(self.told_to_stop) as stop:
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
        """From now on a delivery's end is said once: what cannot be said is rescued by others."""
        self.job_manager.is_stopping = True

    async def serve(self, **options: Unpack[WorkerOptions]) -> None:
        """Run a worker among what `at_work()` has set up, until it is told to stop.

        Without `queues` it serves all of this program; other programs may have queues in the same database. Raises
        `SessionLost` when the process's session has ended: its deliveries are others' by now.
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
                # They stop together, and each waits for its deliveries. A second cancellation waits too.
                self.job_manager.is_stopping = True
                for worker in running:
                    worker.cancel()
                await to_the_end(running)

    def _worker(self, **options: Unpack[WorkerOptions]) -> Worker:
        worker = super()._worker(**options)
        worker._new_job_event = LatchedNotification(fair_share_of_introduced())  # noqa: SLF001 - there is no other way to it
        self._workers.add(worker)
        return worker

    @asynccontextmanager
    async def at_work(self, concurrency: int) -> AsyncIterator[None]:
        """What deliveries need around them: threads, connections, and the rescue of others' deliveries."""
        # A delivery holds at most one connection, and recording outcomes beside running calls another.
        threads = ThreadPoolExecutor(max_workers=2 * concurrency + 2, thread_name_prefix="tallyman")
        asyncio.get_running_loop().set_default_executor(threads)
        least, most = connections.deliveries(concurrency)
        pool = await asyncio.to_thread(database.pool, min_size=least, max_size=most)
        given = settings()
        self.engine = Engine(pool, Policy(given.most_attempts, given.retry_base, given.retry_cap))
        try:
            await asyncio.to_thread(self._check)
            async with self._alive(), upkeep(pool) as promoter:
                # Once before the workers begin: one that does not wait finds what is due by now.
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
        wiring()  # imported now: it takes a second, which a first delivery or a stop should not wait for
        if settings().keys is not None:
            sealing.keyring()  # keys that cannot be read would turn every effect into a dead letter
        with self.engine.pool.connection() as connection:
            check_schema(connection)
            check(connection)
            event_types.register(connection)


app = Application()

_RETRY = procrastinate.RetryStrategy(wait=2)
"""Procrastinate's own retry is only for deliveries of which no transaction could be committed at all."""


def _delivery(context: procrastinate.JobContext) -> Delivery:
    job = context.job
    if job.id is None:
        raise TypeError(job)
    return Delivery(job.id, job.attempts, job.worker_id)


@app.task(name="consume", queue="events", retry=_RETRY, pass_context=True)
def consume_one(context: procrastinate.JobContext, /, **_arguments: Any) -> None:
    """Deliver an event, and its waiting siblings with it."""
    consume(app.engine, _delivery(context), siblings=True)


@app.task(name="consume_parcel", queue="events", retry=_RETRY, pass_context=True)
def consume_batch(context: procrastinate.JobContext, /, **_arguments: Any) -> None:
    """Deliver a batch of events that were published together."""
    consume(app.engine, _delivery(context), siblings=False)


# Another program in the database may have a periodic task and a queueing lock of this name too.
@app.periodic(cron="*/15 * * * *", periodic_id="tallyman")
@app.task(name="prune", queue="events", queueing_lock="tallyman/prune", priority=EVENTS_PRIORITY, pass_context=True)
def prune_now(_context: procrastinate.JobContext, timestamp: int) -> None:  # noqa: ARG001 - Procrastinate's signature of a periodic task
    """Every quarter of an hour, once over all workers: drop what is past its time."""
    with app.engine.pool.connection() as connection:
        prune(connection)


@app.task(name="perform", queue="effects", retry=_RETRY, pass_context=True)
async def perform_batch(context: procrastinate.JobContext, /, **_arguments: Any) -> None:
    """Carry a batch of effects to the outside world."""
    delivery = _delivery(context)
    await perform(app.engine, delivery, app.job_manager.running_delivery(delivery.worker_id, delivery.row_id))
