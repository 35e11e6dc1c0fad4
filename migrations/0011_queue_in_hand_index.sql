-- no-transaction
-- Rows that somebody has in hand, or that failed, are few. Rescue and sweep look for them every few seconds, and
-- read the whole queue for it: a second and a half a million waiting rows, in every worker.
CREATE INDEX CONCURRENTLY IF NOT EXISTS tallyman_jobs_in_hand_idx ON public.procrastinate_jobs (status, id)
    WHERE status IN ('doing', 'failed');
