CREATE TABLE t (id int PRIMARY KEY, a longtext, b longblob, c text, n int) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES (1, repeat('x', 5000000), NULL, 'small', 1), (2, NULL, repeat(unhex('00ff'), 2500000), NULL, 2);
INSERT INTO t VALUES (3, repeat('ä\n\t\\', 100000), repeat(unhex('5c0a'), 100000), repeat('y', 60000), 3);
-- Rows as wide as they may be.
CREATE TABLE wide (id int PRIMARY KEY, a varchar(8000), b varchar(8000), c varchar(8000)) DEFAULT CHARSET latin1;
INSERT INTO wide VALUES (1, repeat('a', 8000), repeat('b', 8000), repeat('c', 8000)), (2, '', NULL, repeat('d', 255)), (3, repeat('e', 256), 'x', NULL);
CREATE TABLE many_columns (
    id int PRIMARY KEY, c1 int, c2 int, c3 int, c4 int, c5 int, c6 int, c7 int, c8 int, c9 int, c10 int, c11 int, c12 int, c13 int, c14 int,
    c15 int, c16 int, c17 int, c18 int, c19 int, c20 int, c21 int, c22 int, c23 int, c24 int, c25 int, c26 int, c27 int, c28 int, c29 int,
    c30 int, c31 int, c32 int, c33 int, c34 int, c35 int, c36 int, c37 int, c38 int, c39 int, c40 int, c41 int, c42 int, c43 int, c44 int,
    c45 int, c46 int, c47 int, c48 int, c49 int, c50 int, c51 int, c52 int, c53 int, c54 int, c55 int, c56 int, c57 int, c58 int, c59 int,
    c60 int, c61 int, c62 int, c63 int, c64 int, c65 int, c66 int, c67 int, c68 int, c69 int, c70 int
);
INSERT INTO many_columns (id, c7, c8, c9, c63, c64, c65, c70) VALUES (1, 7, 8, 9, 63, 64, 65, 70), (2, 1, NULL, 1, NULL, 1, NULL, 1);
