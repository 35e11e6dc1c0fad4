-- Roles ------------------------------------------------------------------------------------------
-- Who may speak. Three roles that nobody logs in as: `service_role` for workers and producers,
-- `authenticated` for a signed-in person, `anon` for a visitor. A login becomes one of them for a
-- session or for one transaction. They own nothing and are subject to every policy.
-- Existing roles (Supabase has all three) are left exactly as they are.

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', role_name);
        END IF;
        -- Whoever migrates must be able to become them, or a single-login installation could not work.
        BEGIN
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
        EXCEPTION WHEN insufficient_privilege THEN
            IF NOT pg_has_role(current_user, role_name, 'MEMBER') THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END $$;

-- Identity ---------------------------------------------------------------------------------------
-- `auth.users` and `auth.uid()` are Supabase's; elsewhere these stand in for them.

CREATE SCHEMA IF NOT EXISTS auth;

DO $$
BEGIN
    IF to_regclass('auth.users') IS NULL THEN
        CREATE TABLE auth.users (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            email text,
            created_at timestamptz NOT NULL DEFAULT now()
        );
        ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
        ALTER TABLE auth.users FORCE ROW LEVEL SECURITY;
        COMMENT ON TABLE auth.users IS 'People. Stands in for Supabase''s table of the same name.';
        CREATE POLICY users_service ON auth.users TO service_role USING (true) WITH CHECK (true);
        GRANT SELECT, INSERT, UPDATE, DELETE ON auth.users TO service_role;
    END IF;
    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE SET search_path = '' AS
        $uid$
            SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
        $uid$;
        COMMENT ON FUNCTION auth.uid() IS 'The person this transaction speaks for: the subject of the request''s claims, or null.';
    END IF;
END $$;

GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;

-- Shared -----------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION public.update_updated_at_column() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

COMMENT ON FUNCTION public.update_updated_at_column() IS
    'Keeps updated_at: a BEFORE UPDATE row trigger of every table that has the column.';
