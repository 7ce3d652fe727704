CREATE TABLE t (id int PRIMARY KEY, v varchar(20), n int) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3);
