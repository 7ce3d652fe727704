UPDATE t SET v = v + 1 WHERE i % 7 = 0;
DELETE FROM t WHERE i % 11 = 0;
