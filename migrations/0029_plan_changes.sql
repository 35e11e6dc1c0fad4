-- What a plan would change, letter by letter ------------------------------------------------------
-- A plan is made page by page, however many letters it has; what they would change together is counted here, not in
-- the program's memory. Plans of older versions have it in their totals alone.

ALTER TABLE engine.replay_plan_letters
    ADD COLUMN IF NOT EXISTS items uuid[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS jobs uuid[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN engine.replay_plan_letters.items IS 'Items of jobs that a replay of the letter would change.';
COMMENT ON COLUMN engine.replay_plan_letters.jobs IS 'Jobs whose counters a replay of the letter would change.';
