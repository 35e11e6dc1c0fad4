-- no-transaction
-- A worker that is free looks which tenants' effects wait, and takes the next row of one of them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS tallyman_jobs_share_idx
    ON public.procrastinate_jobs (queue_name, (engine.share(args) COLLATE "C"), priority DESC, id)
    WHERE status = 'todo' AND task_name = 'perform';
