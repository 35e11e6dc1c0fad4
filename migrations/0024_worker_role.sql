-- A role for workers where service_role bypasses row-level security ---------------------------------
-- On Supabase `service_role` has BYPASSRLS and only a superuser may change that. A member of it inherits its
-- grants and the policies that name it, but not the attribute, so `tallyman_worker` may do what workers must
-- and is subject to every policy. Workers act as it with TALLYMAN_SERVICE_ROLE=tallyman_worker.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'service_role' AND rolbypassrls) THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tallyman_worker') THEN
        CREATE ROLE tallyman_worker NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB INHERIT;
    END IF;
    GRANT service_role TO tallyman_worker;
    GRANT tallyman_worker TO CURRENT_USER;
EXCEPTION WHEN insufficient_privilege THEN
    -- The worker's own check says what a superuser has to do.
    RAISE WARNING 'cannot make the role tallyman_worker: %', SQLERRM;
END $$;
