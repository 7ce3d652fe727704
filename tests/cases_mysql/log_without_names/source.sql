CREATE TABLE t (id int PRIMARY KEY, u bigint unsigned, e enum('x', 'y'), s set('p', 'q'), v varchar(20) CHARACTER SET latin1, b blob, y year) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES (1, 18446744073709551615, 'x', 'p,q', 'ümläut', 0x00ff, 2024), (2, NULL, NULL, NULL, NULL, NULL, NULL);
