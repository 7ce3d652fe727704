INSERT INTO t SELECT id + 20, j, n FROM t;
UPDATE t SET j = JSON_SET(j, '$.a', 'changed'), n = JSON_ARRAY(1, 'a', NULL, 2.50, true) WHERE id = 1;
UPDATE t SET j = JSON_REMOVE(j, '$.z'), n = JSON_OBJECT('k', CAST('1.10' AS DECIMAL(10,2)), 'i', -0.5) WHERE id = 9;
UPDATE t SET j = JSON_REPLACE(j, '$.long', 'short') WHERE id = 11;
UPDATE t SET j = NULL WHERE id = 2;
UPDATE t SET j = JSON_INSERT(n, '$[0]', 5) WHERE id = 22;
DELETE FROM t WHERE id = 24;
