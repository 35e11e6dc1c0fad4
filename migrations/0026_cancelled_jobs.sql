-- Cancelled jobs -----------------------------------------------------------------------------------
-- Somebody may cancel a job that is not done. Its items that no robot has begun fail at once; those in
-- a robot's hand fail when the robot looks before its call, or get the result of a call that was made.

ALTER TABLE logistics.robot_jobs
    ADD COLUMN IF NOT EXISTS cancelled_at timestamptz,
    ADD COLUMN IF NOT EXISTS cancelled_by text,
    ADD COLUMN IF NOT EXISTS cancel_reason text
        CONSTRAINT robot_jobs_cancelled CHECK (num_nulls(cancelled_at, cancelled_by, cancel_reason) IN (0, 3));
COMMENT ON COLUMN logistics.robot_jobs.cancelled_at IS
    'When the job was cancelled: no call for it begins after that. Null again when failed items are retried.';
COMMENT ON COLUMN logistics.robot_jobs.cancelled_by IS 'Who cancelled the job.';
COMMENT ON COLUMN logistics.robot_jobs.cancel_reason IS 'Why the job was cancelled.';

COMMENT ON TABLE engine.paused_queues IS
    'Queues from which no worker takes a delivery, and of which no outside call is begun, until somebody resumes them.';
