CREATE TABLE t (v int, code varchar(20) NOT NULL, area int NOT NULL, note text, UNIQUE KEY by_code (code, area), KEY (v)) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES (1, 'a', 1, 'x'), (2, 'a', 2, NULL), (3, 'b', 1, 'y');
CREATE TABLE two (loose int, small int NOT NULL, big varchar(50) NOT NULL, UNIQUE KEY (loose), UNIQUE KEY (big, small), UNIQUE KEY (small)) DEFAULT CHARSET utf8mb4;
INSERT INTO two VALUES (NULL, 1, 'one'), (NULL, 2, 'two'), (3, 3, 'three');
