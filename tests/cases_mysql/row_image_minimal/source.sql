CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b text, c blob, d int, e decimal(10,2), UNIQUE KEY (d)) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES (1, 'a', 'text', 'blob', 1, 1.00), (2, 'b', NULL, NULL, NULL, NULL), (3, 'c', repeat('x', 9000), repeat(0xff, 9000), 3, 3.30),
    (4, 'd', 'keep', 'keep', 4, 4.40), (5, 'e', 'gone', 'gone', 5, 5.50);
CREATE TABLE two (v int, k int NOT NULL, x text, l varchar(10) NOT NULL, UNIQUE KEY (l, k)) DEFAULT CHARSET utf8mb4;
INSERT INTO two VALUES (1, 1, 'x', 'a'), (2, 2, 'y', 'b');
CREATE TABLE filled (id int PRIMARY KEY, made timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, v int DEFAULT 7, s varchar(10) DEFAULT 'dflt', n int NOT NULL DEFAULT 3);
INSERT INTO filled (id) VALUES (1);
