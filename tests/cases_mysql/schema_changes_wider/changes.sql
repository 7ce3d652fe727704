ALTER TABLE t MODIFY i bigint, MODIFY u bigint unsigned, MODIFY d decimal(20,2);
INSERT INTO t VALUES (3, 9223372036854775807, 18446744073709551615, 123456789012345678.99, 'abc', 'b', 'y', 3);
ALTER TABLE t MODIFY s varchar(500), MODIFY e enum('a', 'b', 'c'), MODIFY x longtext, MODIFY n int NULL;
INSERT INTO t VALUES (4, 4, 4, 4, repeat('s', 400), 'c', repeat('x', 70000), NULL);
UPDATE t SET e = 'c', s = repeat('t', 300) WHERE id = 1;
