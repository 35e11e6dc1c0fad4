-- no-transaction
-- Retention looks for the plans that nobody has used for long.
CREATE INDEX CONCURRENTLY IF NOT EXISTS replay_plans_last_used_at_idx ON engine.replay_plans (last_used_at);
