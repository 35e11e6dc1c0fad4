-- Items that are counted --------------------------------------------------------------------------
-- A job's counters equal its items. An item that is deleted behind the job's back, with its order say,
-- would leave the job at two of three for ever. So an item goes only with its job or its workspace.

CREATE OR REPLACE FUNCTION logistics.refuse_to_uncount() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    -- In a cascade from the job or the workspace the row above is gone by now.
    IF EXISTS (SELECT FROM logistics.robot_jobs j JOIN tenancy.workspaces w ON w.id = j.workspace_id
                WHERE j.id = OLD.job_id) THEN
        RAISE EXCEPTION 'order % is in job %, which counts it: cancel the order, or delete the job first',
            OLD.order_id, OLD.job_id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$;
COMMENT ON FUNCTION logistics.refuse_to_uncount() IS 'An item is deleted with its job or its workspace, never alone or with its order.';
REVOKE ALL ON FUNCTION logistics.refuse_to_uncount() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION logistics.refuse_to_uncount() TO service_role;

CREATE OR REPLACE TRIGGER robot_job_items_never_uncounted BEFORE DELETE ON logistics.robot_job_items
    FOR EACH ROW EXECUTE FUNCTION logistics.refuse_to_uncount();
