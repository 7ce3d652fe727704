CREATE TABLE three (a int, b varchar(20), c date, v varchar(20), PRIMARY KEY (c, a, b)) DEFAULT CHARSET utf8mb4;
INSERT INTO three VALUES (1, 'x', '2024-01-01', 'one'), (1, 'y', '2024-01-01', 'two'), (2, 'x', '2024-01-02', 'three'), (1, '', '2023-01-01', 'four');
CREATE TABLE mixed (v int, n bigint unsigned NOT NULL, w int, d decimal(10,3) NOT NULL, t datetime(6) NOT NULL, PRIMARY KEY (d, n, t));
INSERT INTO mixed VALUES (1, 18446744073709551615, 1, -1.5, '2024-01-01 00:00:00.000001'), (2, 0, 2, -1.5, '2024-01-01 00:00:00.000001'),
    (3, 0, 3, 100.125, '2024-01-01 00:00:00');
CREATE TABLE only_key (a int, b int, PRIMARY KEY (a, b));
INSERT INTO only_key VALUES (1, 1), (1, 2), (2, 1);
CREATE TABLE bits (b bit(5), s smallint unsigned, v int, PRIMARY KEY (b, s));
INSERT INTO bits VALUES (b'10101', 65535, 1), (b'00000', 0, 2), (b'11111', 1, 3);
