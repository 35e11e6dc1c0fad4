-- Rescues, counted by event ------------------------------------------------------------------------
-- A rescued event can move to another queue row: its batch is unpacked, it waits until the other side
-- may be asked, it is parked. A count by row would start again with each new row.

CREATE TABLE IF NOT EXISTS engine.event_rescues (
    event_id uuid PRIMARY KEY,
    rescues integer NOT NULL CHECK (rescues > 0),
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE engine.event_rescues IS
    'How often the delivery of an event was taken from a worker that died or hung. Removed when the event is buried, '
    'and by prune once it is applied or past the retention of resolved dead letters.';
COMMENT ON COLUMN engine.event_rescues.rescues IS
    'Rescues since the event was published or last replayed; more than TALLYMAN_MOST_RESCUES: it is buried.';

ALTER TABLE engine.event_rescues ENABLE ROW LEVEL SECURITY;
ALTER TABLE engine.event_rescues FORCE ROW LEVEL SECURITY;
CREATE POLICY event_rescues_service ON engine.event_rescues TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON engine.event_rescues TO service_role;
