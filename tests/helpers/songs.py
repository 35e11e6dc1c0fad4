"""Another batch with other names: songs with variants, and an enum for their status."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal
from uuid import UUID

import psycopg
from pydantic import Field

from app.engine import batches
from app.engine.batches import Batch, Work
from app.testing.database import Database
from events import Payload
from events.base import event_type

TABLES = """
CREATE SCHEMA IF NOT EXISTS songs;
DO $$ BEGIN
    CREATE TYPE songs.generation_status AS ENUM ('pending', 'generating', 'complete', 'failed');
EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE TABLE IF NOT EXISTS songs.orders (
    id uuid PRIMARY KEY, user_id uuid NOT NULL, occasion date, status text NOT NULL DEFAULT 'pending',
    variants_total integer NOT NULL DEFAULT 0, variants_complete integer NOT NULL DEFAULT 0,
    variants_failed integer NOT NULL DEFAULT 0, generation integer NOT NULL DEFAULT 1, idempotency_key text,
    request_fingerprint text, cancelled_at timestamptz, cancelled_by text, cancel_reason text,
    started_at timestamptz, completed_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, idempotency_key)
);
CREATE TABLE IF NOT EXISTS songs.variants (
    id uuid PRIMARY KEY, order_id uuid NOT NULL REFERENCES songs.orders (id) ON DELETE CASCADE,
    variant_number integer NOT NULL, generation_status songs.generation_status NOT NULL DEFAULT 'pending',
    duration_ms integer, error_type text, error_message text, retry_count integer NOT NULL DEFAULT 0,
    last_retry_at timestamptz, started_at timestamptz, completed_at timestamptz
);
GRANT USAGE ON SCHEMA songs TO service_role;
DO $$ DECLARE t text; BEGIN
    FOREACH t IN ARRAY ARRAY['orders', 'variants'] LOOP
        EXECUTE format('ALTER TABLE songs.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE songs.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('DROP POLICY IF EXISTS service ON songs.%I', t);
        EXECUTE format('CREATE POLICY service ON songs.%I TO service_role USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON songs.%I TO service_role', t);
    END LOOP;
END $$;
"""


@event_type("test/song.submitted")
class SongSubmitted(Payload):
    """A song was ordered."""

    order_id: UUID
    item_count: int
    attempt_items: tuple[UUID, ...] | None = None


@event_type("test/variant.requested")
class VariantRequested(Payload):
    """A variant is to be generated."""

    order_id: UUID
    variant_id: UUID
    variant_number: int
    attempt: int


@event_type("test/variant.completed")
class VariantCompleted(Payload):
    """A variant was generated, or not."""

    order_id: UUID
    variant_id: UUID
    attempt: int
    status: Literal["complete", "failed"]
    duration_ms: int | None = Field(default=None, ge=0)
    error_type: str | None = None
    error_message: str | None = None


@event_type("test/song.completed")
class SongCompleted(Payload):
    """Every variant of a song has a result."""

    order_id: UUID
    complete_count: int
    failed_count: int


@dataclass(frozen=True, slots=True)
class Song:
    """A song order."""

    id: UUID
    user_id: UUID
    status: str
    variants_total: int
    variants_complete: int
    variants_failed: int
    generation: int
    request_fingerprint: str | None


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant of a song."""

    id: UUID
    order_id: UUID
    variant_number: int
    generation_status: str
    duration_ms: int | None
    error_type: str | None
    error_message: str | None
    retry_count: int
    completed_at: object
    owner: UUID


SONGS = Batch(
    name="song",
    command="songs",
    schema="songs",
    jobs="orders",
    items="variants",
    tenant="user_id",
    job=Song,
    item=Variant,
    about=("variant_number",),
    result=("duration_ms", "error_type", "error_message"),
    derived=(("owner", "SELECT o.user_id FROM songs.orders o WHERE o.id = i.order_id"),),
    submitted=SongSubmitted,
    requested=VariantRequested,
    completed=VariantCompleted,
    job_completed=SongCompleted,
    job_id="order_id",
    item_id="variant_id",
    total="variants_total",
    succeeded="variants_complete",
    failed="variants_failed",
    item_status="generation_status",
    processing="generating",
    success="complete",
    error="failed",
    counts=("complete_count", "failed_count"),
)


async def generate(work: Work[Variant]) -> Payload:
    """Generate a variant. The first attempt at variant 2 fails."""
    if work.item.variant_number == 2 and work.reference.endswith("-0"):
        return work.failed("out of tune")
    return work.succeeded(duration_ms=1000 * work.item.variant_number)


async def find(_work: Work[Variant]) -> Payload | None:
    """Find nothing."""
    return None


@cache
def install(database: Database) -> None:
    """Create the tables once in a database, as the owner of the other tables."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute(TABLES)


WIRING = batches.wiring(SONGS, batches.effect(SONGS, queue="songs", call=generate, find=find))
