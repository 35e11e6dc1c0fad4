-- Lock holders -------------------------------------------------------------------------------------
-- Who has a row locked. PostgreSQL keeps a row lock in the row itself, as the number of the transaction
-- that holds it: pg_locks shows which session that transaction belongs to. Several sessions that lock
-- one row are a multixact, whose number cannot be told from a transaction's by its looks.

CREATE OR REPLACE FUNCTION engine.lock_holders(p_table regclass, p_id uuid) RETURNS SETOF integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    holder xid;
BEGIN
    RETURN QUERY
    SELECT l.pid FROM pg_catalog.pg_locks l
     WHERE l.relation = p_table AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
       AND l.mode IN ('ExclusiveLock', 'AccessExclusiveLock');
    IF FOUND THEN
        RETURN; -- the whole table: its rows cannot be read now
    END IF;
    EXECUTE pg_catalog.format('SELECT t.xmax FROM %s t WHERE t.id = $1', p_table) INTO holder USING p_id;
    IF holder IS NULL OR holder::text = '0' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT DISTINCT l.pid FROM pg_catalog.pg_locks l
     WHERE l.locktype = 'transactionid' AND l.granted AND l.transactionid = holder
       AND l.pid <> pg_catalog.pg_backend_pid();
    IF FOUND THEN
        RETURN;
    END IF;
    BEGIN
        RETURN QUERY
        SELECT DISTINCT l.pid
          FROM pg_catalog.pg_get_multixact_members(holder) m
          JOIN pg_catalog.pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = m.xid
         WHERE l.pid <> pg_catalog.pg_backend_pid();
    EXCEPTION WHEN OTHERS THEN
        RETURN; -- the number of a transaction that has ended, and of no multixact
    END;
END $$;
COMMENT ON FUNCTION engine.lock_holders(regclass, uuid) IS
    'The process ids of the sessions that hold a lock on the row of a table with this id, or on the whole table.';

REVOKE ALL ON FUNCTION engine.lock_holders(regclass, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.lock_holders(regclass, uuid) TO service_role;
