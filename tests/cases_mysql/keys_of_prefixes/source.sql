-- A letter that counts as two, and an index of the beginnings only.
CREATE TABLE digits (n int PRIMARY KEY);
INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
CREATE TABLE t (k varchar(180) COLLATE utf8mb4_unicode_ci, i int, v int, PRIMARY KEY (k(10), i)) DEFAULT CHARSET utf8mb4;
INSERT INTO t SELECT concat(repeat(elt(1 + c.n % 4, 'ß', 'ss', 'sz', 's'), 5 + b.n), a.n, c.n), a.n * 100 + b.n * 10 + c.n, c.n
    FROM digits a, digits b, digits c;
