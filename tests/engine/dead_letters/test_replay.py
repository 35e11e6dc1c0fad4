"""Replay: what a plan foretells is what happens, once, at the pace that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest

from app import database as doors
from app.context import Connection
from app.engine import audit_log, domain
from app.engine.dead_letters import letters, manage, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.awaited import Progress
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace
from app.engine.domain import Forecast
from app.engine.queue.publish import publish
from app.errors import Conflict, InvalidInput, NotFound, Permanent
from events import InvalidEvent
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.support import drain_all, scalar, working
from tests.helpers.toy import Outside, say, want

NOBODY: Any = lambda _progress: None  # noqa: E731 - nobody watches


def healed() -> Any:
    """The toy's wiring after somebody has mended the handler: every word can be heard."""
    wiring = Outside().wiring()

    def hear(context: Any, said: list[Any]) -> Iterator[Any]:
        for event in said:
            if event.data.word.startswith("hopeless"):
                message = "still deaf"
                raise Permanent(message)
            toy.note(context, event.id, event.data.word)
        yield from ()

    return domain.use(domain.Wiring({**wiring.handlers, toy.Said: hear}, wiring.effects))


def buried(connection: Connection, *words: str) -> list[UUID]:
    """Words that nobody could hear, as dead letters; their events' ids."""
    said = [say(word, "bad") for word in words]
    publish(connection, *said)
    drain_all(connection)
    return [event.id for event in said]


def heard(connection: Connection) -> list[str]:
    """Every word that was heard, in order."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word")]


def test_a_plan_is_carried_out_and_resolves_its_letters(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """After the cause is mended every letter of the plan is applied once, by its own event id, and resolved by that."""
    ids = buried(connection, "a", "b", "c")
    plan = plans.make(connection, Filters(), actor="ana")
    assert {one.class_ for one in plans.letters(connection, plan.id)} == {"valid"}
    with healed(), working(database.url):
        done = replay.run(connection, plan, Pace(), actor="ana", reason="mended", show=NOBODY)
    assert (done.total, done.replayed, done.outcomes["applied"], done.stopped) == (3, 3, 3, None)
    assert heard(connection) == ["a", "b", "c"]
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 0
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE event_id = ANY(%s)", ids) == 3
    assert [done.action for done in audit_log.history(connection, plan.id)] == ["replayed", "replay", "plan"]


def test_what_dies_again_keeps_the_history_of_both_deaths(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """One letter, the newest error, and the death before it in its history."""
    event_id = buried(connection, "hopeless")[0]
    plan = plans.make(connection, Filters(), actor="ana")
    with healed(), working(database.url):
        done = replay.run(connection, plan, Pace(), actor="ana", reason=None, show=NOBODY)
    assert done.outcomes["dead"] == 1
    letter = letters.find(connection, event_id)
    assert (letter.error_message, letter.replay_count, letter.resolved_at) == ("still deaf", 1, None)
    assert [death["error_message"] for death in letter.history] == ["cannot hear hopeless"]


def test_a_canary_that_dies_stops_the_replay(database: Database, connection: Connection, outside: Outside) -> None:
    """The first few are waited for; the others stay in the plan, and the same plan goes on once it is mended."""
    buried(connection, "hopeless 1")
    buried(connection, "fine 1", "fine 2", "fine 3")
    plan = plans.make(connection, Filters(), actor="ana")
    with healed(), working(database.url):
        first = replay.run(connection, plan, Pace(canary=1), actor="ana", reason="try", show=NOBODY)
        assert (first.replayed, first.outcomes["dead"]) == (1, 1)
        assert first.stopped == "1 of the first 1 died again"
        second = replay.run(connection, plan, Pace(), actor="ana", reason="go on", show=NOBODY)
    assert (second.replayed, second.outcomes["applied"], second.outcomes["dead"]) == (4, 3, 1)


def test_a_replay_stops_past_a_percentage_of_failures(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """It is never far ahead of what it knows, so that stopping leaves most of a bad plan alone."""
    buried(connection, *[f"hopeless {n:02}" for n in range(40)])
    plan = plans.make(connection, Filters(), actor="ana")
    with healed(), working(database.url):
        done = replay.run(connection, plan, Pace(stop_at=20), actor="ana", reason="try", show=NOBODY)
    assert done.stopped is not None
    assert "died again, more than 20 %" in done.stopped
    assert done.replayed <= 20


def test_a_rate_is_kept(database: Database, connection: Connection, outside: Outside) -> None:
    """At so many a second, the letters of a plan take as long as that: no step is larger than what is due."""
    buried(connection, *[f"w{n:02}" for n in range(12)])
    plan = plans.make(connection, Filters(), actor="ana")
    steps: list[int] = []
    with healed(), working(database.url):
        replay.run(
            connection, plan, Pace(rate=10), actor="ana", reason="slowly", show=lambda p: steps.append(p.replayed)
        )
    first = connection.execute(
        "SELECT extract(epoch FROM max(replayed_at) - min(replayed_at)) FROM engine.replay_plan_letters"
    ).fetchone()
    assert first is not None
    assert first[0] >= 1.0
    assert max(later - earlier for earlier, later in zip([0, *steps], steps, strict=False)) < 12


def test_two_who_replay_one_plan_share_the_work(database: Database, connection: Connection, outside: Outside) -> None:
    """Each letter is taken out of the plan once: every word is heard once, whichever replayed it."""
    buried(connection, *[f"w{n:03}" for n in range(100)])
    plan = plans.make(connection, Filters(), actor="ana")

    def one(actor: str) -> Progress:
        with doors.connect(database.url) as other:
            return replay.run(other, plan, Pace(rate=200), actor=actor, reason="together", show=NOBODY)

    with healed(), working(database.url), ThreadPoolExecutor(2) as threads:
        results = list(threads.map(one, ["ana", "luis"]))
    assert [done.outcomes["applied"] for done in results] == [100, 100]
    assert len(heard(connection)) == 100
    assert scalar(connection, "SELECT max(replay_count) FROM engine.failed_jobs") == 1


def test_an_interrupted_replay_goes_on_where_it_was(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """What was replayed before the interruption is not replayed again."""
    buried(connection, *[f"w{n}" for n in range(6)])
    plan = plans.make(connection, Filters(), actor="ana")

    def interrupt(progress: Progress) -> None:
        if progress.replayed >= 2:
            raise KeyboardInterrupt

    with healed(), working(database.url):
        with pytest.raises(KeyboardInterrupt):
            replay.run(connection, plan, Pace(rate=20), actor="ana", reason="begin", show=interrupt)
        done = replay.run(connection, plan, Pace(), actor="ana", reason="go on", show=NOBODY)
    assert done.outcomes["applied"] == 6
    assert scalar(connection, "SELECT max(replay_count) FROM engine.failed_jobs") == 1


def test_a_plan_whose_letters_have_changed_is_stale(connection: Connection, outside: Outside) -> None:
    """Nothing is done by a plan that foretold something else: it says which letters changed, and how."""
    first, _ = buried(connection, "a", "b")
    plan = plans.make(connection, Filters(), actor="ana")
    letter = manage.resolve(connection, [first], note="by hand", actor="luis")[0]
    with pytest.raises(Conflict, match=f"stale: {letter.id} was resolved; make a new one"):
        replay.run(connection, plan, Pace(), actor="ana", reason="try", show=NOBODY)
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


def test_every_event_is_classed_before_anything_happens(connection: Connection, outside: Outside) -> None:
    """Applied, valid, invalid, in doubt, blocked: each letter says what a replay would come to."""
    applied, blocked, good = buried(connection, "applied", "blocked", "good")
    publish(connection, want("unsure", "never"))
    drain_all(connection)
    connection.execute(
        "INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count) VALUES ('x', '{}', 'x', 1)"
    )
    connection.execute(
        "INSERT INTO engine.event_log (event_id, type, version, data, occurred_at) VALUES (%s, 'x', 1, '{}', now())",
        [applied],
    )
    wiring = outside.wiring()
    forecasts: Any = {toy.Said: lambda _c, said: {e.id: Forecast(blocked="paused") for e in said if e.id == blocked}}
    with domain.use(domain.Wiring(wiring.handlers, wiring.effects, forecasts)):
        plan = plans.make(connection, Filters(), actor="ana")
    found = {one.event_id: (one.class_, one.detail) for one in plans.letters(connection, plan.id)}
    assert found[applied] == ("already_applied", "the ledger has it")
    assert found[blocked] == ("blocked", "paused")
    assert found[good] == ("valid", None)
    assert found[None][0] == "invalid"
    assert sorted(class_ for class_, _ in found.values()) == sorted(
        ["already_applied", "blocked", "valid", "invalid", "in_doubt"]
    )


@pytest.mark.parametrize("pace", [Pace(rate=0), Pace(rate=-1), Pace(canary=0), Pace(stop_at=101)])
def test_what_is_no_pace_is_refused(connection: Connection, outside: Outside, pace: Pace) -> None:
    """A rate of zero would never end: it is an error that names the field."""
    plan = plans.make(connection, Filters(), actor="ana")
    with pytest.raises(InvalidInput, match=r"^(rate|canary|stop-at): "):
        replay.run(connection, plan, pace, actor="ana", reason=None, show=NOBODY)


def test_an_edit_is_a_new_event_that_points_to_the_old(connection: Connection, outside: Outside) -> None:
    """Checked against the schema, published, and the old letter resolved, all in one commit and on record."""
    old = buried(connection, "garbled")[0]
    with pytest.raises(InvalidEvent, match=r"data\.volume"):
        manage.edit(connection, old, {"word": "clear", "volume": 11}, reason=None, actor="ana")
    new = manage.edit(connection, old, {"word": "clear"}, reason="typo", actor="ana")
    drain_all(connection)
    assert heard(connection) == ["clear"]
    assert (new.causationid, new.id != old) == (old, True)
    letter = letters.find(connection, old)
    assert (letter.replaced_by, letter.resolved_at is not None) == (new.id, True)
    assert audit_log.history(connection, letter.id)[0].details["after"] == {"word": "clear"}
    with pytest.raises(Conflict, match="resolved already"):
        manage.edit(connection, old, {"word": "again"}, reason=None, actor="ana")


def test_filters_and_groups_find_what_is_meant(connection: Connection, outside: Outside) -> None:
    """By type, class, text and fingerprint; the same failure with other particulars is one group."""
    buried(connection, "one", "two")
    publish(connection, want("call", "bad"))
    drain_all(connection)
    assert len(letters.select(connection, Filters())) == 3
    assert len(letters.select(connection, Filters(type="toy/word.said"))) == 2
    assert len(letters.select(connection, Filters(text="TWO"))) == 1
    assert len(letters.select(connection, Filters(error_class="Permanent"))) == 3
    groups = letters.group(connection, Filters())
    assert sum(group.letters for group in groups) == 3
    assert len(letters.select(connection, Filters(fingerprint=groups[0].fingerprint))) == groups[0].letters
    with pytest.raises(NotFound):
        letters.find(connection, say("nobody").id)


def test_the_record_of_actions_cannot_be_changed(connection: Connection, outside: Outside) -> None:
    """Rows are only ever added: service_role may neither update nor delete them."""
    buried(connection, "x")
    manage.annotate(connection, letters.select(connection, Filters())[0].id, note="look", actor="ana")
    for statement in ("UPDATE engine.actions SET actor = 'nobody'", "DELETE FROM engine.actions"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
