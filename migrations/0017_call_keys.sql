-- The key of a call --------------------------------------------------------------------------------
-- A mark in engine.calls was found by the id of the event that the call was made for. An edited copy, a
-- producer's own request or a replay has another id, and did not find it. The key belongs to the call itself,
-- whichever event asks for it: its effect derives it from the event, e.g. from an item and its attempt.

ALTER TABLE engine.calls ADD COLUMN IF NOT EXISTS call_key uuid;
-- The owner is subject to the policies of its own table, and none of them is its.
ALTER TABLE engine.calls NO FORCE ROW LEVEL SECURITY;
UPDATE engine.calls SET call_key = event_id WHERE call_key IS NULL;
ALTER TABLE engine.calls FORCE ROW LEVEL SECURITY;

-- A worker of the version before knows no keys.
CREATE OR REPLACE FUNCTION engine.calls_default_key() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.call_key := coalesce(NEW.call_key, NEW.event_id);
    RETURN NEW;
END $$;
COMMENT ON FUNCTION engine.calls_default_key() IS 'The key of a call is its event''s id, where its effect names no other.';
REVOKE ALL ON FUNCTION engine.calls_default_key() FROM PUBLIC;

CREATE OR REPLACE TRIGGER calls_default_key BEFORE INSERT ON engine.calls
    FOR EACH ROW EXECUTE FUNCTION engine.calls_default_key();

-- squawk-ignore adding-not-nullable-field
ALTER TABLE engine.calls ALTER COLUMN call_key SET NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX IF NOT EXISTS calls_call_key_key ON engine.calls (call_key);

COMMENT ON COLUMN engine.calls.call_key IS
    'What the call is about: at most one delivery makes the calls of a key at a time, whichever events ask for them.';
COMMENT ON COLUMN engine.calls.event_id IS 'The event that asked for the call last.';

-- The grace period of a call looks for the rescues of its row.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS rescues_row_id_idx ON engine.rescues (row_id);
