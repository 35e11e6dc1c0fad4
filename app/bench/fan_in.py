"""`bench fan-in`: results of items counted, to the ledger, the counters and `robot/job.completed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.bench import limit, worker
from app.bench.cast import Cast, cast
from app.bench.conditions import conditions
from app.bench.ground import Ground, ground
from app.bench.plain import CONCURRENCY, Plain
from app.bench.report import Report
from app.bench.rounds import Claim, Contender, Measured, alternate
from app.bench.scale import scaled
from app.engine.queue.publish import publish_all

SHAPES = {"1 x 5,000": (5_000,), "1 x 50,000": (50_000,), "20 x 250": (250,) * 20}
PLAIN_MOST = 2_000
"""Results after which plain Procrastinate is stopped: its rate does not change any more, and it takes minutes."""

PARCELS, SINGLES, STALE, STALE_SINGLES = "parcels", "one by one", "parcels, stale", "one by one, stale"
PLAIN, LIMIT = "plain Procrastinate", f"limit, chunks of {limit.CHUNK}"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A cast on its ground, and how each contender drains it."""

    ground: Ground
    cast: Cast

    def ours(self, *, parcel: int | None, statistics: str) -> float:
        """Results a second of the program's own worker."""
        self.cast.enter(self.ground, statistics=statistics)
        with self.ground.connect() as connection, connection.transaction():
            publish_all(connection, self.cast.said, parcel=parcel)
        if statistics == "fresh":
            self.ground.analyze()
        seconds = worker.count(self.cast)
        return self._exact(seconds)

    def plain(self) -> float:
        """Results a second of plain Procrastinate."""
        self.cast.enter(self.ground, statistics="fresh")
        plain = Plain(self.ground)
        plain.publish(self.cast)
        self.ground.analyze()
        return plain.drain(min(PLAIN_MOST, self.cast.total))

    def limit(self) -> float:
        """Results a second of the same statements without a queue."""
        self.cast.enter(self.ground, statistics="fresh")
        return self._exact(limit.drain(self.ground, self.cast))

    def _exact(self, seconds: float) -> float:
        with self.ground.connect() as connection:
            self.cast.check(connection)
        return self.cast.total / seconds

    def contenders(self) -> dict[str, Contender]:
        """Everybody who takes part."""
        return {
            PARCELS: lambda: self.ours(parcel=None, statistics="fresh"),
            STALE: lambda: self.ours(parcel=None, statistics="stale"),
            SINGLES: lambda: self.ours(parcel=1, statistics="fresh"),
            STALE_SINGLES: lambda: self.ours(parcel=1, statistics="stale"),
            LIMIT: self.limit,
            PLAIN: self.plain,
        }


def run(
    *, rounds: int, say: Say, shipped: bool = False, shapes: Sequence[str] = tuple(SHAPES), scale: float = 1
) -> Report:
    """Measure every shape with `scale` times its results; `shipped`: each ships its order, `order/updated` follows."""
    measured: list[Measured] = []
    claims: list[Claim] = []
    with ground() as made:
        with made.connect() as connection:
            where = conditions(connection)
        for shape in shapes:
            say(f"fan-in {shape}")
            sizes = [scaled(size, scale) for size in SHAPES[shape]]
            stage = _Stage(made, cast(made, sizes, shipped=shipped))
            found = alternate(shape, "results/s", stage.contenders(), rounds)
            measured += found.values()
            claims += _claims(shape, {name: one.median for name, one in found.items()})
    notes = [
        f"plain Procrastinate: concurrency {CONCURRENCY}, stopped after {PLAIN_MOST:,} results",
        f"ours: concurrency {worker.CONCURRENCY}, listening, until what follows is handled; checked every time",
        "stale: the planner knows the tables as empty, and autovacuum and auto-analyze are off",
    ]
    return Report("fan-in", where, measured, claims, notes)


def _claims(shape: str, rate: dict[str, float]) -> list[Claim]:
    return [
        Claim(f"{shape}: parcels ÷ plain", rate[PARCELS] / rate[PLAIN], least=40),
        Claim(f"{shape}: parcels ÷ limit", rate[PARCELS] / rate[LIMIT], least=0.5),
        Claim(f"{shape}: one by one ÷ plain", rate[SINGLES] / rate[PLAIN], least=12),
        Claim(f"{shape}: one by one ÷ limit", rate[SINGLES] / rate[LIMIT], least=0.15),
        Claim(f"{shape}: parcels, stale ÷ fresh", rate[STALE] / rate[PARCELS], least=0.8),
        Claim(f"{shape}: one by one, stale ÷ fresh", rate[STALE_SINGLES] / rate[SINGLES], least=0.8),
    ]
