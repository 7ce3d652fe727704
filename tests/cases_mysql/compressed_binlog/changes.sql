INSERT INTO t VALUES (3, repeat('compressed ', 5000), 3), (4, '', NULL);
UPDATE t SET v = repeat('z', 70000) WHERE id IN (1, 2);
UPDATE t SET n = 5;
DELETE FROM t WHERE id = 3;
ALTER TABLE t ADD COLUMN added varchar(100);
INSERT INTO t VALUES (5, repeat('x', 300), 5, 'with a long statement text that is worth compressing, at least by the measure of this test');
