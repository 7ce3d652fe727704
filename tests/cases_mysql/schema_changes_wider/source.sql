CREATE TABLE t (id int PRIMARY KEY, i smallint, u int unsigned, d decimal(5,2), s varchar(5), e enum('a', 'b'), x text, n int NOT NULL) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES (1, 32767, 4294967295, 999.99, 'short', 'a', 'x', 1), (2, NULL, NULL, NULL, NULL, NULL, NULL, 2);
