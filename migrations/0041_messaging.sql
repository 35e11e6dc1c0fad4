-- Messaging ---------------------------------------------------------------------------------------
-- Direct and group messages that become jobs, and the people who send them. One person has one row of
-- users, however the channels write the number: the spellings and ids are in user_aliases. Messages have
-- no tenant; only workers and the webhook read them.

CREATE SCHEMA IF NOT EXISTS messaging;
GRANT USAGE ON SCHEMA messaging TO service_role;

-- People ------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS messaging.users (
    phone_number text PRIMARY KEY CHECK (phone_number ~ '^(\+[1-9][0-9]{6,14}|[a-z]+:.+)$'),
    first_name text,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE messaging.users IS 'One person who sends messages. Created by the first message.';
COMMENT ON COLUMN messaging.users.phone_number IS
    'The number in E.164. Until a message has one: an id of the channel, such as whatsapp:CO.1502576394655843.';
COMMENT ON COLUMN messaging.users.first_name IS 'The name that the person has chosen in the channel, from the first message with one.';

CREATE TABLE IF NOT EXISTS messaging.user_aliases (
    alias text PRIMARY KEY CHECK (alias <> ''),
    phone_number text NOT NULL,
    kind text NOT NULL CHECK (kind <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_aliases_phone_number_fkey FOREIGN KEY (phone_number)
        REFERENCES messaging.users (phone_number) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS user_aliases_phone_number_idx ON messaging.user_aliases (phone_number);
COMMENT ON TABLE messaging.user_aliases IS
    'All names of a person: the key in users, other spellings of the number, ids of channels. A name is one person''s.';
COMMENT ON COLUMN messaging.user_aliases.kind IS 'number: a spelling of the number. Else the channel whose id it is.';

-- Jobs --------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS messaging.jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL,
    source_channel_id text NOT NULL CHECK (source_channel_id <> ''),
    source_type text NOT NULL CHECK (source_type IN ('dm', 'group')),
    user_phone text NOT NULL CHECK (user_phone <> ''),
    content_type text CHECK (
        content_type IN ('text', 'link', 'image', 'audio', 'video', 'location', 'contact', 'unknown')),
    payload jsonb NOT NULL,
    content jsonb,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'complete', 'failed')),
    attempt integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    provider_message_id text CHECK (provider_message_id <> ''),
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT jobs_provider_message_id_key UNIQUE (provider_message_id),
    CONSTRAINT jobs_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES messaging.users (phone_number) ON UPDATE CASCADE,
    CONSTRAINT jobs_started CHECK ((status = 'pending') = (started_at IS NULL)),
    CONSTRAINT jobs_read CHECK (status = 'pending' OR content_type IS NOT NULL),
    CONSTRAINT jobs_ended CHECK ((status IN ('complete', 'failed')) = (completed_at IS NOT NULL)),
    CONSTRAINT jobs_complete CHECK ((status = 'complete') = (content IS NOT NULL)),
    CONSTRAINT jobs_failed CHECK ((status = 'failed') = (error_message IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS jobs_user_id_idx ON messaging.jobs (user_id);
CREATE INDEX IF NOT EXISTS jobs_created_at_idx ON messaging.jobs (created_at, id);
CREATE INDEX IF NOT EXISTS jobs_open_idx ON messaging.jobs (status) WHERE status IN ('pending', 'processing');
COMMENT ON TABLE messaging.jobs IS 'One message. It is processed by the processor of its content type.';
COMMENT ON COLUMN messaging.jobs.source_channel_id IS 'The group, or for a direct message the sender as the channel writes it.';
COMMENT ON COLUMN messaging.jobs.user_phone IS 'The sender as the channel wrote it in this message. user_id is the person.';
COMMENT ON COLUMN messaging.jobs.payload IS 'The form fields as they were posted: [[name, value], ...].';
COMMENT ON COLUMN messaging.jobs.content IS 'What the processor returned; by default the normalised content.';
COMMENT ON COLUMN messaging.jobs.attempt IS 'How often the job was reopened. A result of an earlier attempt is late.';
COMMENT ON COLUMN messaging.jobs.provider_message_id IS 'The sender''s own id of the message (MessageSid): one id, one job.';

-- The allowed transitions. `app.messaging.rules.TRANSITIONS` is the same table; this trigger holds for any program.
CREATE OR REPLACE FUNCTION messaging.check_transition() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('pending', 'processing'), ('processing', 'complete'), ('processing', 'failed'), ('failed', 'pending')) THEN
        RAISE EXCEPTION 'a message job that is % cannot become %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION messaging.check_transition() IS 'A row trigger that refuses a status transition that is not allowed.';
CREATE OR REPLACE TRIGGER jobs_transition BEFORE UPDATE OF status ON messaging.jobs
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION messaging.check_transition();

-- One person --------------------------------------------------------------------------------------
-- A message names its sender by one or more names. The usual case is one query: all names are known and
-- belong to one person, whose row is then locked against a merge. Otherwise the names are locked, in one
-- order, and the person is created, renamed from an id to the number, or merged; then the query is repeated.

CREATE OR REPLACE FUNCTION messaging.merge_users(p_users text[], p_name text) RETURNS void
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off AS $$
DECLARE
    kept text;
BEGIN
    SELECT u.phone_number INTO kept FROM messaging.users u WHERE u.phone_number = ANY(p_users)
     ORDER BY u.phone_number = p_name DESC, starts_with(u.phone_number, '+') DESC, u.created_at, u.phone_number
     LIMIT 1;
    UPDATE messaging.users u
       SET created_at = (SELECT min(o.created_at) FROM messaging.users o WHERE o.phone_number = ANY(p_users)),
           first_name = coalesce(u.first_name, (
               SELECT min(o.first_name) FROM messaging.users o WHERE o.phone_number = ANY(p_users)))
     WHERE u.phone_number = kept;
    UPDATE messaging.jobs j SET user_id = kept WHERE j.user_id = ANY(p_users) AND j.user_id <> kept;
    UPDATE messaging.user_aliases a SET phone_number = kept WHERE a.phone_number = ANY(p_users) AND a.phone_number <> kept;
    DELETE FROM messaging.users u WHERE u.phone_number = ANY(p_users) AND u.phone_number <> kept;
    IF starts_with(p_name, '+') AND NOT starts_with(kept, '+') THEN
        UPDATE messaging.users u SET phone_number = p_name WHERE u.phone_number = kept;
    END IF;
END $$;
COMMENT ON FUNCTION messaging.merge_users(text[], text) IS
    'Makes rows of users, which the caller has locked, one: that of p_name, else one with a number, else the oldest. '
    'Jobs and aliases follow. A row without a number is renamed if p_name is one.';

CREATE OR REPLACE FUNCTION messaging.find_user(p_aliases text[], p_kinds text[], p_first_name text) RETURNS text
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off AS $$
DECLARE
    found_users text[];
    known bigint;
    locked bigint;
    is_ours boolean := false;
BEGIN
    LOOP
        SELECT array_agg(DISTINCT a.phone_number), count(*) INTO found_users, known
          FROM messaging.user_aliases a WHERE a.alias = ANY(p_aliases);
        IF known = cardinality(p_aliases) AND cardinality(found_users) = 1
           AND (starts_with(found_users[1], '+') OR NOT starts_with(p_aliases[1], '+')) THEN
            PERFORM FROM messaging.users u WHERE u.phone_number = found_users[1] FOR KEY SHARE;
            -- Not found: another session has renamed or merged the row meanwhile.
            IF FOUND THEN
                UPDATE messaging.users u SET first_name = p_first_name
                 WHERE u.phone_number = found_users[1] AND u.first_name IS NULL AND p_first_name IS NOT NULL;
                RETURN found_users[1];
            END IF;
        ELSIF NOT is_ours THEN
            PERFORM pg_advisory_xact_lock(hashtextextended('messaging.user_aliases/' || n.alias, 0))
               FROM (SELECT alias FROM unnest(p_aliases) alias ORDER BY alias) n;
            is_ours := true;
        ELSE
            IF found_users IS NULL THEN
                INSERT INTO messaging.users (phone_number, first_name) VALUES (p_aliases[1], p_first_name)
                ON CONFLICT (phone_number) DO NOTHING;
                found_users := ARRAY[p_aliases[1]];
            END IF;
            PERFORM FROM messaging.users u WHERE u.phone_number = ANY(found_users) ORDER BY u.phone_number FOR UPDATE;
            GET DIAGNOSTICS locked = ROW_COUNT;
            IF locked = cardinality(found_users) THEN
                PERFORM messaging.merge_users(found_users, p_aliases[1]);
                INSERT INTO messaging.user_aliases (alias, phone_number, kind)
                SELECT n.alias, u.phone_number, n.kind
                  FROM unnest(p_aliases, p_kinds) AS n (alias, kind), messaging.users u
                 WHERE u.phone_number = ANY(found_users || p_aliases[1])
                ON CONFLICT (alias) DO NOTHING;
            END IF;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION messaging.find_user(text[], text[], text) IS
    'Returns the key in users of the person with these names, p_kinds beside them; the first is the E.164 number, or an '
    'id if there is none. Creates the person, links new names, and merges rows that are one person. The row is locked '
    'against renaming and merging until the transaction ends.';

REVOKE ALL ON FUNCTION messaging.check_transition(), messaging.merge_users(text[], text),
    messaging.find_user(text[], text[], text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION messaging.check_transition(), messaging.merge_users(text[], text),
    messaging.find_user(text[], text[], text) TO service_role;

-- Policies, then grants ---------------------------------------------------------------------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['users', 'user_aliases', 'jobs'] LOOP
        EXECUTE format('ALTER TABLE messaging.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE messaging.%I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY %I ON messaging.%I TO service_role USING (true) WITH CHECK (true)',
                       table_name || '_service', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON messaging.%I TO service_role', table_name);
    END LOOP;
END $$;
