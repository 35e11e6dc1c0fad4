"""A test domain declared as a `Batch`: postcards that a print shop prints."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from uuid import UUID

import psycopg

from app.context import Connection, Context
from app.engine import batches
from app.engine.batches import Batch, Work
from app.errors import Permanent, Transient
from app.testing.database import Database
from events import Payload, batch
from events.base import event_type

TABLES = """
CREATE SCHEMA IF NOT EXISTS cards;
CREATE TABLE IF NOT EXISTS cards.prints (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES tenancy.workspaces (id) ON DELETE CASCADE,
    paper text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    total_items integer NOT NULL DEFAULT 0,
    success_count integer NOT NULL DEFAULT 0,
    error_count integer NOT NULL DEFAULT 0,
    generation integer NOT NULL DEFAULT 1,
    idempotency_key text,
    request_fingerprint text,
    cancelled_at timestamptz,
    cancelled_by text,
    cancel_reason text,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT prints_key UNIQUE (workspace_id, idempotency_key),
    CONSTRAINT prints_counts CHECK (success_count >= 0 AND error_count >= 0
                                    AND success_count + error_count <= total_items)
);
CREATE TABLE IF NOT EXISTS cards.cards (
    id uuid PRIMARY KEY,
    job_id uuid NOT NULL REFERENCES cards.prints (id) ON DELETE CASCADE,
    address text NOT NULL,
    copies integer NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'success', 'error')),
    print_number text,
    error_type text,
    error_message text,
    retry_count integer NOT NULL DEFAULT 0,
    last_retry_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz
);
CREATE INDEX IF NOT EXISTS cards_job_id_id_idx ON cards.cards (job_id, id);
GRANT USAGE ON SCHEMA cards TO service_role;
DO $$ DECLARE t text; BEGIN
    FOREACH t IN ARRAY ARRAY['prints', 'cards'] LOOP
        EXECUTE format('ALTER TABLE cards.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE cards.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('DROP POLICY IF EXISTS service ON cards.%I', t);
        EXECUTE format('CREATE POLICY service ON cards.%I TO service_role USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON cards.%I TO service_role', t);
    END LOOP;
END $$;
"""


@event_type("test/print.submitted")
class Submitted(batch.JobSubmitted):
    """A print job was submitted."""

    paper: str


@event_type("test/card.requested")
class Requested(batch.ItemRequested):
    """A card is to be printed."""

    paper: str
    address: str


@event_type("test/card.completed")
class Completed(batch.ItemCompleted):
    """The result of a card."""

    print_number: str | None = None


@event_type("test/print.completed")
class PrintCompleted(batch.JobCompleted):
    """Every card of a print job has a result."""


@dataclass(frozen=True, slots=True)
class Print(batches.Job):
    """A print job."""

    workspace_id: UUID
    paper: str


@dataclass(frozen=True, slots=True)
class Card(batches.Item):
    """A card of a print job."""

    address: str
    copies: int
    print_number: str | None


PRINTS = Batch(
    name="print job",
    command="prints",
    schema="cards",
    jobs="prints",
    items="cards",
    tenant="workspace_id",
    job=Print,
    item=Card,
    request=("paper",),
    about=("address", "copies"),
    result=("print_number", "error_type", "error_message"),
    submitted=Submitted,
    requested=Requested,
    completed=Completed,
    job_completed=PrintCompleted,
)


@dataclass(slots=True)
class PrintShop:
    """A simulated print shop. It refuses a card to `nowhere`, fails `closed` calls, and can be jammed."""

    printed: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    closed: int = 0
    is_jammed: bool = False

    async def print(self, work: Work[Card]) -> Payload:
        """Print a card under its reference."""
        if self.is_jammed:
            raise Permanent("the printer jams")
        if self.closed:
            self.closed -= 1
            raise Transient("the shop is closed")
        if work.item.address == "nowhere":
            return work.failed("no such address", "validation")
        self.printed[work.reference] = work.item.address
        return work.succeeded(print_number=f"P-{work.reference}")

    async def find(self, work: Work[Card]) -> Payload | None:
        """Find a card under the references of its attempts."""
        self.asked.append(work.reference)
        known = [reference for reference in work.references if reference in self.printed]
        return work.succeeded(print_number=f"P-{known[0]}") if known else None

    def start_over(self) -> None:
        """Forget all printed cards and requests."""
        self.printed.clear()
        self.asked.clear()

    @property
    def times(self) -> Counter[str]:
        """The number of prints of the card to each address."""
        return Counter(self.printed.values())


@cache
def install(database: Database) -> None:
    """Create the domain's tables once in a database, as the owner of the other tables."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute(TABLES)


@dataclass(frozen=True, slots=True)
class Office:
    """A workspace that submits cards."""

    connection: Connection
    workspace_id: UUID

    @property
    def context(self) -> Context:
        """A context for the workspace, with the current time."""
        return Context.start(self.connection, self.workspace_id)

    def submit(self, *addresses: str, key: str | None = None, paper: str = "matt") -> Print:
        """Submit a card to each address."""
        items = [{"address": address, "copies": 1} for address in addresses]
        return batches.submit(self.context, PRINTS, items, request={"paper": paper}, idempotency_key=key)

    def job(self, job_id: UUID) -> Print:
        """Return the current state of a job."""
        return batches.get_job(self.context, PRINTS, job_id)

    def cards(self, job_id: UUID) -> list[Card]:
        """Return the current state of a job's cards."""
        return batches.get_page(self.context, PRINTS, job_id).items
