CREATE TABLE t (id int PRIMARY KEY, c char(5), v varchar(20), x text) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES (1, 'a\0b', 'a\0b', 'a\0b'), (2, '\0', '\0', '\0\0'), (3, 'x', 'x', '');
