CREATE TABLE t (id int PRIMARY KEY, v mediumtext, n int) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES (1, repeat('a', 1000), 1), (2, 'b', 2);
