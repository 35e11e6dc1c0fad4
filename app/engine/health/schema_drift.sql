-- The objects of Procrastinate in a schema, each with what tells it from another version of itself.
-- The names and definitions of some contain the schema's; whoever compares takes it out.
SELECT 'column' AS kind, c.relname || '.' || a.attname AS name,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                 nullif(a.attidentity, ''), pg_get_expr(d.adbin, d.adrelid)) AS definition
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'procrastinate\_%%'
   AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'index', i.relname, pg_get_indexdef(i.oid)
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname LIKE 'procrastinate\_%%'
   AND i.relname NOT LIKE 'tallyman\_%%' -- ours: see the migrations
UNION ALL
SELECT 'constraint', c.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname LIKE 'procrastinate\_%%' AND k.contype <> 'n'
UNION ALL
SELECT 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       concat_ws(' ', pg_get_function_result(p.oid), p.prosecdef, p.proconfig, md5(p.prosrc))
  FROM pg_proc p WHERE p.pronamespace = %(schema)s::regnamespace AND p.proname LIKE 'procrastinate\_%%'
UNION ALL
SELECT 'trigger', c.relname || '.' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname LIKE 'procrastinate\_%%' AND NOT t.tgisinternal
UNION ALL
SELECT 'type', t.typname, string_agg(e.enumlabel, ' ' ORDER BY e.enumsortorder)
  FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
 WHERE t.typnamespace = %(schema)s::regnamespace AND t.typname LIKE 'procrastinate\_%%'
 GROUP BY t.typname
