INSERT INTO t SELECT id + 10, j FROM t;
UPDATE t SET j = JSON_SET(j, '$[0]', CAST('1999-12-31' AS DATE)) WHERE id IN (1, 2);
UPDATE t SET j = JSON_REPLACE(j, '$.bits', 'gone', '$.big', CAST(1.50 AS DECIMAL(5,2))) WHERE id = 3;
UPDATE t SET j = JSON_REMOVE(j, '$[1]') WHERE id = 16;
-- Large forms count in four bytes instead of two.
UPDATE big SET j = CAST(concat('[', repeat('{"key": [1, 2.5, "text", null]},', 5000), '{}]') AS JSON) WHERE id = 1;
UPDATE big SET j = CAST(concat('{"k0": 1', repeat(' ', 1), ', "', repeat('k', 60000), '": "', repeat('v', 70000), '"}') AS JSON) WHERE id = 2;
-- Partial updates, where the log carries only what changed.
SET SESSION binlog_row_value_options = 'PARTIAL_JSON';
UPDATE big SET j = JSON_SET(j, '$[3].key[0]', 99) WHERE id = 1;
UPDATE t SET j = JSON_SET(j, '$[0]', 'x') WHERE id IN (11, 12);
UPDATE t SET j = JSON_REMOVE(j, '$.bytes') WHERE id = 13;
