DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'again', 10); DELETE FROM t WHERE id = 1;
BEGIN; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (2, 'in one', NULL); UPDATE t SET n = 20 WHERE id = 2; COMMIT;
REPLACE INTO t VALUES (3, 'replaced', NULL), (4, 'replaced new', 4);
INSERT INTO t VALUES (4, 'x', 0) ON DUPLICATE KEY UPDATE n = n + 1, v = 'upserted';
INSERT IGNORE INTO t VALUES (4, 'ignored', 0), (5, 'not ignored', 5);
BEGIN; INSERT INTO t VALUES (6, 'short', 6); DELETE FROM t WHERE id = 6; COMMIT;
BEGIN; INSERT INTO t VALUES (7, 'x', 7); DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (7, 'y', NULL); COMMIT;
DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (5, NULL, NULL);
DELETE a FROM t a JOIN t b ON a.id = b.id + 1 WHERE b.id = 2;
