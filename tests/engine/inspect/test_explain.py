"""Explain: each state of an event that is not applied has its own reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from app.context import Connection
from app.database import as_service
from app.engine import domain
from app.engine.inspect.explain import explain, explain_event
from app.engine.inspect.reasons import Dead, Done, Failed, InDoubt, InHand, Reason
from app.engine.inspect.waiting import (
    BehindOthers,
    NobodyServes,
    Parked,
    PutBack,
    QueuePaused,
    Waiting,
    WaitingForShare,
)
from app.engine.queue.pauses import pause
from app.engine.queue.publish import publish
from app.engine.queue.weights import set_weight
from app.errors import NotFound
from app.settings import settings
from events import Event, Payload
from tests.conftest import Database
from tests.helpers.health_fixtures import enlist
from tests.helpers.operators import work_once
from tests.helpers.sequences import StepFaults, make_due, step
from tests.helpers.support import drain, drain_all, scalar
from tests.helpers.toy import Outside, say, want


def kinds(reasons: list[Reason]) -> list[str]:
    """Return the kinds of reasons, in their order."""
    return [reason.kind for reason in reasons]


def only(reasons: list[Reason], kind: type[Reason]) -> Reason:
    """Return the only reason of a kind. Checks that every reason has a sentence."""
    assert all(reason.sentence for reason in reasons)
    (found,) = [reason for reason in reasons if isinstance(reason, kind)]
    return found


@pytest.fixture
def worker(connection: Connection) -> int:
    """A registered worker that serves every queue and stays alive."""
    return enlist(connection)


@pytest.fixture
def _patience(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays of at least half a minute."""
    monkeypatch.setenv("TALLYMAN_RETRY_BASE", "60")
    settings.cache_clear()


def fetch(connection: Connection, worker: int, queue: str) -> int:
    """Fetch a row of a queue with the worker."""
    return int(scalar(connection, "SELECT id FROM procrastinate_fetch_job_v2(ARRAY[%s]::varchar[], %s)", queue, worker))


def test_a_due_event_waits_behind_the_rows_before_it(connection: Connection, outside: Outside, worker: int) -> None:
    """Due rows of its queue with a higher priority or a lower id."""
    publish(connection, want("another queue"))
    publish(connection, say("first"))
    publish(connection, say("second"))
    publish(connection, say("not due"), delay=60)
    event = say("third")
    publish(connection, event)
    publish(connection, say("after it"))
    (found,) = explain_event(connection, event.id)
    row = scalar(
        connection, "SELECT id FROM public.procrastinate_jobs WHERE args @> %s::jsonb", f'{{"id": "{event.id}"}}'
    )
    assert found == Waiting(1, "events", row, ahead=2)
    assert found.sentence == f"1 event is waiting in queue events behind 2 others (row {row})"


def test_a_due_effect_waits_behind_rows_of_its_tenant(connection: Connection, outside: Outside, worker: int) -> None:
    """With the tenant's share of the deliveries."""
    other = UUID(int=7)
    for _ in range(3):
        publish(connection, want("another tenant", tenant=other))
    publish(connection, want("first"))
    publish(connection, want("second"))
    publish(connection, want("not due"), delay=60)
    event = want("third")
    publish(connection, event)
    publish(connection, want("after it"))
    (found,) = explain_event(connection, event.id)
    row = scalar(connection, "SELECT id FROM public.procrastinate_jobs WHERE args @> %s::jsonb", pattern(event))
    assert found == WaitingForShare(1, "toys", row, ahead=2, weight=1, total=2, tenants=2)
    assert found.sentence == (
        f"1 event is waiting in queue toys behind 2 rows of its own (row {row});"
        " its share is 50% of the deliveries (weight 1 of 2, 2 tenants)"
    )
    set_weight(connection, other, 3, actor="ana", reason="pays more")
    found = only(explain_event(connection, event.id), WaitingForShare)
    assert found == WaitingForShare(1, "toys", row, ahead=2, weight=1, total=4, tenants=2)


def pattern(event: Event[Payload]) -> str:
    """Return the content of the row of an event in a batch."""
    return f'{{"events": [{{"id": "{event.id}"}}]}}'


def test_a_queue_without_a_worker_is_a_reason(connection: Connection, outside: Outside, worker: int) -> None:
    """No worker, one that serves other queues, and one whose heartbeat is too old."""
    event = say("lonely")
    publish(connection, event)
    assert kinds(explain_event(connection, event.id)) == ["waiting"]
    connection.execute("UPDATE engine.workers SET queues = '{toys}'")
    assert only(explain_event(connection, event.id), NobodyServes) == NobodyServes("events")
    connection.execute("UPDATE engine.workers SET queues = '{events}'")
    assert kinds(explain_event(connection, event.id)) == ["waiting"]
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    assert kinds(explain_event(connection, event.id)) == ["no_worker", "waiting"]
    connection.execute("DELETE FROM public.procrastinate_workers")
    assert kinds(explain_event(connection, event.id)) == ["no_worker", "waiting"]


def test_a_paused_queue_is_a_reason(connection: Connection, outside: Outside, worker: int) -> None:
    """With the actor and the reason."""
    event = want("held up")
    publish(connection, event)
    pause(connection, "toys", actor="ana", reason="the portal is down")
    found = explain_event(connection, event.id)
    assert kinds(found) == ["queue_paused", "waiting"]
    paused = only(found, QueuePaused)
    assert isinstance(paused, QueuePaused)
    assert (paused.queue, paused.by, paused.why) == ("toys", "ana", "the portal is down")


@pytest.mark.usefixtures("_patience")
def test_a_put_back_event_has_its_delay_and_error(connection: Connection, outside: Outside, worker: int) -> None:
    """The error is cut, without characters that the database cannot store."""
    event = say("patient", "later")
    publish(connection, event)
    drain()
    found = only(explain_event(connection, event.id), PutBack)
    assert isinstance(found, PutBack)
    assert (found.error, found.attempt, found.queue) == ("Transient: not now", 1, "events")
    assert timedelta(0) < found.until - datetime.now(UTC) <= timedelta(minutes=1)
    assert "after Transient: not now" in found.sentence


def test_an_event_that_was_published_with_a_delay_has_no_error(
    connection: Connection, outside: Outside, worker: int
) -> None:
    """It waits for its time."""
    event = say("tomorrow")
    publish(connection, event, delay=60)
    found = only(explain_event(connection, event.id), PutBack)
    assert isinstance(found, PutBack)
    assert (found.error, found.attempt) == (None, 0)


def test_a_parked_event_names_its_limit(connection: Connection, outside: Outside, worker: int) -> None:
    """And the number of slots that live deliveries hold."""
    publish(connection, want("holder", limit="account"))
    row = fetch(connection, worker, "toys")
    connection.execute("SELECT engine.take_slots('account', 2, 2, %s, 0, %s)", [row, worker])
    event = want("parked", limit="account")
    publish(connection, event)
    work_once()
    found = only(explain_event(connection, event.id), Parked)
    assert isinstance(found, Parked)
    assert (found.key, found.held, found.queue) == ("account", 2, "toys")


def test_an_event_in_delivery_names_its_worker(connection: Connection, outside: Outside, worker: int) -> None:
    """And whether that worker is alive."""
    event = say("held")
    publish(connection, event)
    row = fetch(connection, worker, "events")
    found, whose = only(explain_event(connection, event.id), InHand), f"{worker} (worker on h, pid 1)"
    since = scalar(connection, "SELECT max(at) FROM public.procrastinate_events WHERE type = 'started'")
    assert found == InHand(1, "events", row, whose, since, is_stale=False)
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    assert only(explain_event(connection, event.id), InHand) == InHand(1, "events", row, whose, since, is_stale=True)
    connection.execute("DELETE FROM public.procrastinate_workers")
    assert only(explain_event(connection, event.id), InHand) == InHand(1, "events", row, None, since, is_stale=True)


@pytest.mark.usefixtures("_patience")
def test_a_call_without_an_outcome_is_in_doubt(connection: Connection, outside: Outside, worker: int) -> None:
    """Unless a live delivery makes it."""
    event = want("unsure", "never")
    publish(connection, event)
    drain()
    found = explain_event(connection, event.id)
    assert kinds(found) == ["put_back", "in_doubt"]
    assert getattr(only(found, PutBack), "error", None) == "Transient: no answer"
    doubt = only(found, InDoubt)
    assert isinstance(doubt, InDoubt)
    assert (doubt.event_id, doubt.tries) == (event.id, 1)
    make_due(connection)
    row = fetch(connection, worker, "toys")
    connection.execute("UPDATE engine.calls SET row_id = %s, attempts = 0, worker_id = %s", [row, worker])
    assert kinds(explain_event(connection, event.id)) == ["in_hand"]


def test_a_dead_event_names_its_letter_and_error(connection: Connection, outside: Outside) -> None:
    """A resolved letter is no reason."""
    event = say("lost", "bad")
    publish(connection, event)
    drain()
    (found,) = explain_event(connection, event.id)
    assert isinstance(found, Dead)
    assert (found.events, found.type, found.error) == (1, "toy/word.said", "Permanent: cannot hear lost")
    assert found.letter_id == scalar(connection, "SELECT id FROM engine.failed_jobs")
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now()")
    with pytest.raises(NotFound):
        explain_event(connection, event.id)


def test_a_row_that_failed_in_the_queue_is_a_reason(connection: Connection, outside: Outside, worker: int) -> None:
    """Until the sweep buries it."""
    event = say("failed")
    publish(connection, event)
    connection.execute("UPDATE public.procrastinate_jobs SET status = 'failed'")
    assert isinstance(only(explain_event(connection, event.id), Failed), Failed)


def test_an_applied_event_is_done(connection: Connection, outside: Outside, worker: int) -> None:
    """Also while another row of it waits."""
    event = say("heard")
    publish(connection, event)
    drain()
    (found,) = explain_event(connection, event.id)
    assert found == Done("toy/word.said", scalar(connection, "SELECT applied_at FROM engine.event_log"))
    publish(connection, event)
    assert kinds(explain_event(connection, event.id)) == ["done", "waiting"]


def test_an_event_that_is_nowhere_is_not_found(connection: Connection, outside: Outside) -> None:
    """It was never published, or is pruned."""
    with pytest.raises(NotFound, match="never published, or it was applied more than 30 days ago") as caught:
        explain_event(connection, UUID(int=1))
    assert str(UUID(int=1)) in str(caught.value)


@pytest.mark.usefixtures("_patience")
def test_events_that_wait_alike_share_a_reason(connection: Connection, outside: Outside, worker: int) -> None:
    """With their number. Events of other batches are left out."""
    batch = str(uuid4())

    def of_batch(event: Event[Payload]) -> Event[Payload]:
        return event.model_copy(update={"subject": UUID(batch)})

    with as_service(connection):
        publish(connection, *[of_batch(say(f"later {n}", "later")) for n in range(30)])
        publish(connection, *[of_batch(say(f"bad {n}", "bad")) for n in range(4)], say("unrelated", "bad"))
    drain()
    publish(connection, *[of_batch(want(f"w{n}")) for n in range(60)], want("also unrelated"))
    found = explain(connection, {"subject": batch})
    assert {reason.kind: getattr(reason, "events", 0) for reason in found} == {"waiting": 60, "put_back": 30, "dead": 4}
    back = only(found, PutBack)
    assert isinstance(back, PutBack)
    assert timedelta(0) < back.last_until - back.until < timedelta(minutes=1)
    drain_all(connection)
    assert kinds(explain(connection, {"subject": batch})) == ["dead", "dead"]


def test_an_event_that_is_not_next_names_the_one_that_is(connection: Connection, outside: Outside, worker: int) -> None:
    """In the queue and when it is held: the number of earlier events, and the first of them."""
    subject = uuid4()
    first, second, third = (step(subject, number) for number in (1, 2, 3))
    with domain.use(StepFaults(broken={1}).wiring()):
        publish(connection, first, second, third)
        assert kinds(explain_event(connection, first.id)) == ["waiting"]
        assert kinds(explain_event(connection, third.id)) == ["waiting", "in_line"]
        drain()
        assert kinds(explain_event(connection, first.id)) == ["dead"]
        assert explain_event(connection, third.id) == [BehindOthers(1, subject, 2, first.id)]
        assert kinds(explain(connection, {"subject": str(subject)})) == ["in_line", "dead"]
        assert only(explain(connection, {"subject": str(subject)}), BehindOthers) == BehindOthers(
            2, subject, 1, first.id
        )
