"""A batch with other names of tables, columns, status words and event fields."""

from __future__ import annotations

import pytest

from app.context import Connection, Context
from app.engine import batches, domain
from app.engine.health.doctor import check_context, examine
from app.engine.inspect.invariants import audit
from app.errors import NotFound
from app.testing.drain import drain_all
from events import new_id
from tests.conftest import Database
from tests.helpers import songs
from tests.helpers.songs import SONGS
from tests.helpers.support import scalar


def test_a_song_from_order_to_its_second_generation(database: Database, connection: Connection) -> None:
    """Submit, request, generate, count, complete, retry, explain, audit."""
    songs.install(database)
    with domain.use(songs.WIRING):
        context = Context.start(connection, new_id())
        variants = [{"variant_number": n} for n in (1, 2)]
        song = batches.submit(context, SONGS, variants, request={}, idempotency_key="k")
        drain_all(connection)
        page = batches.get_page(context, SONGS, song.id)
        assert (page.job.status, page.job.variants_complete, page.job.variants_failed) == ("completed", 1, 1)
        assert [one.generation_status for one in page.items] == ["complete", "failed"]
        assert {one.owner for one in page.items} == {context.tenant_id}
        assert (page.items[0].duration_ms, page.errors) == (1000, {"unknown": 1})
        assert batches.get_page(context, SONGS, song.id, status="failed").items == page.items[1:]
        assert [one.kind for one in batches.explain_item(connection, SONGS, page.items[1].id)] == ["item_failed"]
        assert batches.retry_failed(context, SONGS, song.id).items == 1
        drain_all(connection)
        done = batches.get_job(context, SONGS, song.id)
        assert (done.status, done.variants_complete, done.generation) == ("completed", 2, 2)
        said = "SELECT data FROM engine.event_log WHERE type = 'test/song.completed' ORDER BY applied_at DESC LIMIT 1"
        assert scalar(connection, said) == {"order_id": str(song.id), "complete_count": 2, "failed_count": 0}
        broken = [one.name for one in audit(connection, batches.invariants(SONGS)) if not one.holds]
    assert broken == []
    with check_context() as examined:
        assert [one.level for one in examine(examined, batches.checkups(SONGS))] == ["ok"]
    with pytest.raises(NotFound, match="is no job of this user; `songs list`"):
        batches.get_job(Context.start(connection, new_id()), SONGS, song.id)
