SET SESSION binlog_transaction_compression = ON;
INSERT INTO t VALUES (3, repeat('compressed ', 5000), 3), (4, '', NULL);
BEGIN; UPDATE t SET v = repeat('z', 70000) WHERE id IN (1, 2); INSERT INTO u VALUES (1, 1), (2, 2); UPDATE u SET v = 10; COMMIT;
UPDATE t SET n = 5;
DELETE FROM t WHERE id = 3;
ALTER TABLE t ADD COLUMN added varchar(100);
INSERT INTO t VALUES (5, repeat('x', 300000), 5, 'last');
SET SESSION binlog_transaction_compression = OFF;
INSERT INTO u VALUES (3, 3);
