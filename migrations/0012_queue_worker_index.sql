-- no-transaction
-- Where a worker's row goes, its foreign key looks for rows of the queue that name it. Procrastinate's own index has
-- those in hand alone, which does not serve a foreign key: each worker that stops read the whole queue.
CREATE INDEX CONCURRENTLY IF NOT EXISTS tallyman_jobs_worker_id_idx ON public.procrastinate_jobs (worker_id)
    WHERE worker_id IS NOT NULL;
