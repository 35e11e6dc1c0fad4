-- no-transaction
-- Cancelling a job and recording an item's result look for the open dead letters of the job.
CREATE INDEX CONCURRENTLY IF NOT EXISTS failed_jobs_open_subject_idx ON engine.failed_jobs ((event_data ->> 'subject'))
 WHERE resolved_at IS NULL;
