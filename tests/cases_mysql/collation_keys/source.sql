CREATE TABLE ci (k varchar(50) COLLATE utf8mb4_general_ci PRIMARY KEY, n int) DEFAULT CHARSET utf8mb4;
INSERT INTO ci VALUES ('a', 1), ('Beta', 2), ('gamma ', 3), ('öl', 4), ('straße', 5), ('', 6), ('Ünïcode', 7), ('b-c', 8), ('bc', 9);
CREATE TABLE bin (k varchar(50) COLLATE utf8mb4_bin PRIMARY KEY, n int) DEFAULT CHARSET utf8mb4;
INSERT INTO bin VALUES ('a', 1), ('A', 2), ('ä', 3), ('Ä', 4), ('b', 5), (' b', 6);
CREATE TABLE fixed (k char(10) COLLATE latin1_swedish_ci, n int NOT NULL, v int, PRIMARY KEY (k, n)) DEFAULT CHARSET latin1;
INSERT INTO fixed VALUES ('a', 1, 1), ('B', 1, 2), ('é', 1, 3), ('', 1, 4), ('y', 1, 5);
CREATE TABLE pad (k varchar(20) COLLATE latin1_general_cs PRIMARY KEY, v int) DEFAULT CHARSET latin1;
INSERT INTO pad VALUES ('x', 1), ('y  ', 2), (' z', 3), ('X', 4);
-- More rows than one read takes, in an order that is not the bytes'.
CREATE TABLE many (k varchar(20) COLLATE utf8mb4_unicode_ci PRIMARY KEY, n int) DEFAULT CHARSET utf8mb4;
INSERT INTO many SELECT concat(char(65 + (a.n * 7 + b.n * 3) % 26 + 32 * (b.n % 2)), a.n, '_', char(97 + c.n), b.n), a.n
    FROM (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7) a,
        (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7) b,
        (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7) c;
