-- What workers know --------------------------------------------------------------------------------
-- While a deployment is under way, workers of several programs run side by side: `doctor` tells them apart.

ALTER TABLE engine.workers ADD COLUMN IF NOT EXISTS knows text;
COMMENT ON COLUMN engine.workers.knows IS
    'A digest of the types and versions of events that it serves; null: a worker of an older program.';
