-- Room for updates ---------------------------------------------------------------------------------
-- Items and orders are written once and changed a few times: asked for, begun, done, shipped. Where a
-- page has room for the new version of a row, no index is touched; without it every index is, each time.

ALTER TABLE logistics.robot_job_items SET (fillfactor = 60);
ALTER TABLE logistics.orders SET (fillfactor = 80);
-- The counters of a running job change with every delivery of results, many times a second.
ALTER TABLE logistics.robot_jobs SET (fillfactor = 50);
