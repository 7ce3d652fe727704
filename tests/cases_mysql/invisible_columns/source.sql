CREATE TABLE t (id int PRIMARY KEY, v varchar(10), hidden int DEFAULT 5 INVISIBLE, w int);
INSERT INTO t (id, v, hidden, w) VALUES (1, 'a', 1, 10), (2, 'b', NULL, 20);
INSERT INTO t VALUES (3, 'c', 30);
