-- Rests --------------------------------------------------------------------------------------------
-- An outside system that is asked too often says "come back later" (HTTP 429 or 503 with Retry-After).
-- That is about the whole account, so no other call under its concurrency limit is begun until then.

CREATE TABLE IF NOT EXISTS engine.rests (
    key text PRIMARY KEY,
    until timestamptz NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE engine.rests IS
    'Keys of concurrency limits under which no call is begun until a time, because the other side said so.';
COMMENT ON COLUMN engine.rests.key IS
    'As in engine.slots; for effects without concurrency limits, effect/ and the type of the event.';
COMMENT ON COLUMN engine.rests.reason IS 'What the other side said last.';

ALTER TABLE engine.rests ENABLE ROW LEVEL SECURITY;
ALTER TABLE engine.rests FORCE ROW LEVEL SECURITY;
CREATE POLICY rests_service ON engine.rests TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON engine.rests TO service_role;
