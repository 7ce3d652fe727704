CREATE TABLE t (id int PRIMARY KEY, v varchar(20), big mediumtext) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES (1, 'one', repeat('1', 3000)), (2, 'two', NULL), (3, 'three', 'x'), (4, 'four', 'y'), (5, 'five', 'z');
CREATE TABLE u (id int PRIMARY KEY, code varchar(10) NOT NULL, UNIQUE KEY (code)) DEFAULT CHARSET utf8mb4;
INSERT INTO u VALUES (1, 'a'), (2, 'b'), (3, 'c');
