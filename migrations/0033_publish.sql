-- Publish ----------------------------------------------------------------------------------------
-- engine.publish() puts events into the queue in the caller's own transaction, for any driver and
-- language. It checks the envelope; the consumer checks `data`, and dead-letters what it cannot read.
-- `publish()` of the Python package writes the same rows (a test compares them).
--
-- Errors are of the class TY, with the event's attribute in the field COLUMN and the remedy in HINT:
--     TY001  an attribute is missing or invalid          TY003  an event, or the call, is too large
--     TY002  no program serves the type or the version   TY004  two different events have one id

-- Extension attributes of CloudEvents: what a producer adds for its own use.
CREATE OR REPLACE FUNCTION engine.extension_problem(p_extensions jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT ARRAY['TY001', x.key, CASE
               WHEN x.key = 'data_base64' THEN 'binary data is not accepted'
               WHEN x.key !~ '^[a-z0-9]{1,20}$' THEN 'unknown attribute'
               ELSE 'an extension attribute must not be ' || CASE jsonb_typeof(x.value)
                    WHEN 'number' THEN 'this number' WHEN 'string' THEN 'a string with control characters'
                    ELSE 'an ' || jsonb_typeof(x.value) END END,
               CASE
               WHEN x.key = 'data_base64' THEN 'Send `data` as a JSON object.'
               WHEN x.key !~ '^[a-z0-9]{1,20}$'
                    THEN 'Remove it or correct its name; an extension attribute has 1 to 20 characters of a-z and 0-9.'
               ELSE 'Send a string without control characters, an integer of 32 bits, or a boolean.' END]
      FROM jsonb_each(p_extensions) x
     WHERE x.key !~ '^[a-z0-9]{1,20}$'
        OR CASE jsonb_typeof(x.value)
           WHEN 'string' THEN x.value #>> '{}' ~ U&'[\0001-\001f\007f-\009f]'
           WHEN 'number' THEN (x.value #>> '{}')::numeric NOT BETWEEN -2147483648 AND 2147483647
                           OR x.value #>> '{}' !~ '^-?[0-9]+$'
           ELSE jsonb_typeof(x.value) IN ('object', 'array') END
     ORDER BY x.key
     LIMIT 1
$$;
COMMENT ON FUNCTION engine.extension_problem(jsonb) IS
    'The first invalid extension attribute as {SQLSTATE, attribute, problem, remedy}; null: all are valid.';

-- One expression, so that a valid event costs one evaluation. Setting a search path for each event would cost more than
-- the checks: names are qualified, and the path is that of the caller, engine.publish().
CREATE OR REPLACE FUNCTION engine.event_problem(
    p_event jsonb, p_type text, p_version integer, p_is_sequenced boolean, p_retired_at timestamptz
) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    uuid_form CONSTANT text := '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
    give_uuid CONSTANT text := 'Give a UUID in lower case with hyphens, or leave the attribute out.';
BEGIN
    RETURN CASE
        WHEN jsonb_typeof(p_event) <> 'object' THEN
            ARRAY['TY001', 'event', 'must be a JSON object, not ' || jsonb_typeof(p_event), 'Send a CloudEvents 1.0 object.']
        WHEN p_event -> 'specversion' IS DISTINCT FROM '"1.0"' THEN
            ARRAY['TY001', 'specversion', engine.must_be('"1.0"', p_event -> 'specversion'), 'Set it to the string "1.0".']
        WHEN coalesce(p_event ->> 'id', '') !~ uuid_form THEN
            ARRAY['TY001', 'id', engine.must_be('a UUID in lower case', p_event -> 'id'),
                  'Give each event a new UUID (uuid4(), crypto.randomUUID(), gen_random_uuid()), in lower case with hyphens.']
        WHEN jsonb_typeof(p_event -> 'source') IS DISTINCT FROM 'string' OR p_event ->> 'source' = '' THEN
            ARRAY['TY001', 'source', engine.must_be('a string', p_event -> 'source'), 'Name the producer, "shop/checkout" say.']
        WHEN jsonb_typeof(p_event -> 'type') IS DISTINCT FROM 'string' THEN
            ARRAY['TY001', 'type', engine.must_be('a string', p_event -> 'type'), 'Give a type of engine.event_types.']
        WHEN p_type IS NULL THEN
            ARRAY['TY002', 'type', 'unknown event type ' || left(p_event ->> 'type', 100),
                  'SELECT type FROM engine.event_types lists the known ones; `db migrate` with the program that serves it adds it.']
        WHEN p_retired_at IS NOT NULL THEN
            ARRAY['TY002', 'type', p_type || ' is not served any more',
                  'Publish a type of engine.event_types whose retired_at is null.']
        WHEN left(p_event ->> 'dataschema', length(p_type) + 1) IS DISTINCT FROM p_type || '/'
             OR substr(p_event ->> 'dataschema', length(p_type) + 2) !~ '^[1-9][0-9]{0,8}$' THEN
            ARRAY['TY001', 'dataschema', engine.must_be(p_type || '/<version>', p_event -> 'dataschema'),
                  format('Set it to "%s/%s".', p_type, p_version)]
        WHEN substr(p_event ->> 'dataschema', length(p_type) + 2)::integer > p_version THEN
            ARRAY['TY002', 'dataschema', format('%s is unknown; the newest version is %s', p_event ->> 'dataschema', p_version),
                  'Run `db migrate` with the program that knows this version before its producers.']
        WHEN NOT coalesce(engine.is_event_time(p_event ->> 'time'), false) THEN
            ARRAY['TY001', 'time', engine.must_be('a date and time with its offset from UTC', p_event -> 'time'),
                  'Give RFC 3339, "2026-01-31T12:00:00Z" say.']
        WHEN coalesce(p_event ->> 'subject', '') !~ uuid_form AND (p_event ->> 'subject' IS NOT NULL OR p_is_sequenced) THEN
            ARRAY['TY001', 'subject', engine.must_be('a UUID in lower case', p_event -> 'subject'),
                  CASE WHEN p_is_sequenced THEN 'Events of this type are sequenced: name the job or order whose turn it is.'
                       ELSE give_uuid END]
        WHEN p_event ->> 'tenantid' !~ uuid_form THEN
            ARRAY['TY001', 'tenantid', engine.must_be('a UUID in lower case', p_event -> 'tenantid'), give_uuid]
        WHEN p_event ->> 'causationid' !~ uuid_form THEN
            ARRAY['TY001', 'causationid', engine.must_be('a UUID in lower case', p_event -> 'causationid'), give_uuid]
        WHEN p_event ->> 'correlationid' !~ uuid_form THEN
            ARRAY['TY001', 'correlationid', engine.must_be('a UUID in lower case', p_event -> 'correlationid'), give_uuid]
        WHEN p_event ->> 'datacontenttype' !~* '^application/json(\s*;\s*charset="?utf-8"?)?$' THEN
            ARRAY['TY001', 'datacontenttype', engine.must_be('application/json', p_event -> 'datacontenttype'),
                  'Set it to "application/json", or leave it out.']
        WHEN jsonb_typeof(p_event -> 'traceparent') NOT IN ('string', 'null') THEN
            ARRAY['TY001', 'traceparent', engine.must_be('a string', p_event -> 'traceparent'), 'Give a W3C traceparent, or leave it out.']
        WHEN jsonb_typeof(p_event -> 'data') IS DISTINCT FROM 'object' THEN
            ARRAY['TY001', 'data', engine.must_be('a JSON object', p_event -> 'data'),
                  format('See `python cli.py events schema %s`.', p_type)]
        WHEN octet_length(p_event::text) > 262144 THEN
            ARRAY['TY003', 'data', format('the event takes %s bytes as jsonb text, at most 262144 are allowed',
                  octet_length(p_event::text)), 'Send ids, not documents.']
        WHEN p_event - ARRAY['specversion', 'id', 'source', 'type', 'datacontenttype', 'dataschema', 'subject', 'time', 'tenantid',
                             'causationid', 'correlationid', 'traceparent', 'data'] <> '{}' THEN
            engine.extension_problem(
                p_event - ARRAY['specversion', 'id', 'source', 'type', 'datacontenttype', 'dataschema', 'subject', 'time',
                                'tenantid', 'causationid', 'correlationid', 'traceparent', 'data'])
        END;
END $$;
COMMENT ON FUNCTION engine.event_problem(jsonb, text, integer, boolean, timestamptz) IS
    'What is wrong with an event, as {SQLSTATE, attribute, problem, remedy}; null: nothing. p_type and what follows are '
    'the row of engine.event_types; null: the type is unknown.';

CREATE OR REPLACE FUNCTION engine.must_be(p_wanted text, p_found jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT CASE WHEN coalesce(p_found, 'null') = 'null' THEN 'missing, must be ' || p_wanted
                ELSE format('must be %s, not %s', p_wanted, left(p_found::text, 80)) END
$$;
COMMENT ON FUNCTION engine.must_be(text, jsonb) IS 'What is wrong with an attribute, in words.';

-- RFC 3339 with an offset, as both PostgreSQL and the consumer read it.
CREATE OR REPLACE FUNCTION engine.is_event_time(p_time text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    -- No group captures and nothing looks ahead, which would cost ten times as much.
    SELECT CASE WHEN p_time ~ ('^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]'
                               '(?:\.[0-9]{1,9})?(?:[Zz]|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$')
                THEN left(p_time, 4) <> '0000'
                     AND (substr(p_time, 9, 2) < '29'
                          OR substr(p_time, 9, 2)::integer <= extract(day FROM
                             (substr(p_time, 1, 7) || '-01')::date + interval '1 month' - interval '1 day'))
                ELSE false END
$$;
COMMENT ON FUNCTION engine.is_event_time(text) IS 'Whether a text is a date and time of RFC 3339 with an offset.';

-- The rows that events go into, as engine.enqueue() takes them: by route in the order of their first event, and of each route up
-- to batch_size events in a row. A single event of a handler is a row of its own.
CREATE OR REPLACE FUNCTION engine.event_rows(p_events jsonb, p_delay double precision) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH events AS (
        SELECT el.n, el.value AS event, t.queue_name, t.priority, t.batch_size,
               CASE WHEN t.is_effect THEN t.type END AS effect_of,
               CASE WHEN t.is_effect THEN coalesce(el.value ->> 'tenantid', '-')
                         || coalesce('/' || nullif(left(el.value -> 'data' ->> t.account_field, 100), ''), '') END AS share
          FROM jsonb_array_elements(p_events) WITH ORDINALITY AS el (value, n)
          JOIN engine.event_types t ON t.type = el.value ->> 'type'
    ), placed AS (
        SELECT e.*, min(e.n) OVER route AS first, (row_number() OVER in_order - 1) / e.batch_size AS part
          FROM events e
        WINDOW route AS (PARTITION BY e.queue_name, e.priority, e.batch_size, e.effect_of, e.share),
               in_order AS (PARTITION BY e.queue_name, e.priority, e.batch_size, e.effect_of, e.share ORDER BY e.n)
    ), batches AS (
        SELECT p.first, p.part, p.queue_name, p.priority, p.effect_of, p.share, count(*) AS size,
               jsonb_agg(p.event ORDER BY p.n) AS events
          FROM placed p
         GROUP BY p.first, p.part, p.queue_name, p.priority, p.effect_of, p.share
    )
    SELECT coalesce(jsonb_agg(jsonb_build_object(
               'queue', b.queue_name, 'priority', b.priority, 'delay', p_delay,
               'task', CASE WHEN b.effect_of IS NOT NULL THEN 'perform' WHEN b.size = 1 THEN 'consume' ELSE 'consume_parcel' END,
               'args', CASE WHEN b.effect_of IS NULL AND b.size = 1 THEN b.events -> 0
                            ELSE jsonb_strip_nulls(jsonb_build_object('attempt', 0, 'share', b.share))
                                 || jsonb_build_object('events', b.events) END) ORDER BY b.first, b.part), '[]')
      FROM batches b
$$;
COMMENT ON FUNCTION engine.event_rows(jsonb, double precision) IS 'The queue rows of checked events, for engine.enqueue().';

CREATE OR REPLACE FUNCTION engine.publish(p_events jsonb, p_delay double precision DEFAULT 0) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    bad record;
    again record;
    total integer;
BEGIN
    IF jsonb_typeof(p_events) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION USING ERRCODE = 'TY001', COLUMN = 'events',
            MESSAGE = 'events: ' || engine.must_be('a JSON array of events', p_events),
            HINT = 'Wrap a single event in an array.';
    END IF;
    total := jsonb_array_length(p_events);
    IF total > 10000 THEN
        RAISE EXCEPTION USING ERRCODE = 'TY003', COLUMN = 'events',
            MESSAGE = format('events: %s in one call, at most 10000 are allowed', total),
            HINT = 'Call it several times in the same transaction.';
    END IF;
    IF NOT coalesce(p_delay >= 0 AND p_delay <= 315360000, false) THEN
        RAISE EXCEPTION USING ERRCODE = 'TY001', COLUMN = 'delay',
            MESSAGE = format('delay: must be 0 to 315360000 seconds (ten years), not %s', coalesce(p_delay::text, 'null')),
            HINT = 'Give the seconds until the events are due, or leave it out.';
    END IF;
    SELECT e.n, e.event ->> 'id' AS id, e.event ->> 'type' AS type, e.problem INTO bad
      FROM (SELECT el.n, el.value AS event, engine.event_problem(el.value, t.type, t.version, t.is_sequenced, t.retired_at) AS problem
              FROM jsonb_array_elements(p_events) WITH ORDINALITY AS el (value, n)
              LEFT JOIN engine.event_types t ON t.type = el.value ->> 'type'
            OFFSET 0) e -- evaluates a problem once
     WHERE e.problem IS NOT NULL
     ORDER BY e.n
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = bad.problem[1], COLUMN = bad.problem[2],
            MESSAGE = format('events[%s].%s: %s', bad.n - 1, bad.problem[2], bad.problem[3]),
            DETAIL = format('Event %s of type %s.', coalesce(bad.id, 'without id'), coalesce(bad.type, 'none')),
            HINT = bad.problem[4];
    END IF;
    IF total > (SELECT count(DISTINCT el.value ->> 'id') FROM jsonb_array_elements(p_events) el) THEN
        SELECT e.id, min(e.n) AS first, max(e.n) AS last INTO again
          FROM (SELECT el.n, el.value ->> 'id' AS id, jsonb_build_array(
                       el.value -> 'type', el.value -> 'tenantid', el.value -> 'data') AS fact
                  FROM jsonb_array_elements(p_events) WITH ORDINALITY AS el (value, n)) e
         GROUP BY e.id
        HAVING count(DISTINCT e.fact) > 1
         LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'TY004', COLUMN = 'id',
                MESSAGE = format('events[%s].id: events[%s] has the same id and says something else', again.last - 1, again.first - 1),
                DETAIL = format('Id %s.', again.id),
                HINT = 'Give each event an id of its own.';
        END IF;
    END IF;
    IF total > 0 THEN
        PERFORM engine.enqueue(engine.event_rows(p_events, p_delay));
        INSERT INTO engine.sequence (type, subject_id, event_id)
        SELECT t.type, (el.value ->> 'subject')::uuid, (el.value ->> 'id')::uuid
          FROM jsonb_array_elements(p_events) WITH ORDINALITY AS el (value, n)
          JOIN engine.event_types t ON t.type = el.value ->> 'type' AND t.is_sequenced
         ORDER BY el.n
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN total;
END $$;
COMMENT ON FUNCTION engine.publish(jsonb, double precision) IS
    'Puts events (CloudEvents objects, at most 10,000) into the queue in this transaction, due after p_delay seconds; how many.';

REVOKE ALL ON FUNCTION engine.extension_problem(jsonb), engine.event_problem(jsonb, text, integer, boolean, timestamptz),
    engine.must_be(text, jsonb), engine.is_event_time(text), engine.event_rows(jsonb, double precision),
    engine.publish(jsonb, double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.extension_problem(jsonb), engine.event_problem(jsonb, text, integer, boolean, timestamptz),
    engine.must_be(text, jsonb), engine.is_event_time(text), engine.event_rows(jsonb, double precision),
    engine.publish(jsonb, double precision) TO service_role;
