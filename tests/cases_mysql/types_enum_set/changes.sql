SET SESSION sql_mode = '';
INSERT INTO t SELECT id + 10, e, n, l, s, s64 FROM t WHERE id < 8;
UPDATE t SET e = 'ümläut', s = 'c d,a', s64 = 18446744073709551615 WHERE id IN (1, 12);
UPDATE t SET e = 0, s = 0 WHERE id = 2;
UPDATE keyed SET k = 'two', s = 'p' WHERE n = 1;
UPDATE keyed SET n = n + 10 WHERE k = 'two';
DELETE FROM keyed WHERE k = 'one';
DELETE FROM t WHERE id = 13;
