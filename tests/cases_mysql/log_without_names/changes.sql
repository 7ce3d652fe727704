INSERT INTO t VALUES (3, 9223372036854775808, 'y', 'q', '€', 0xff, 1999);
UPDATE t SET u = 1, e = 'y', s = '', v = 'é' WHERE id IN (1, 2);
ALTER TABLE t ADD COLUMN added int unsigned AFTER id, DROP COLUMN y;
INSERT INTO t VALUES (4, 4294967295, 4, 'x', 'p', 'x', NULL);
UPDATE t SET added = 5 WHERE id = 1;
DELETE FROM t WHERE id = 2;
