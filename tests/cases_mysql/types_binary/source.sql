CREATE TABLE t (
    id int PRIMARY KEY, b binary(8), b1 binary(1), v varbinary(20), tb tinyblob, bb blob, mb mediumblob, lb longblob
);
INSERT INTO t VALUES
    (1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00),
    (2, 0x6100000000000000, 0xff, 0x6100, 0x6100, 0x6100, 0x6100, 0x6100),
    (3, 'abcdefgh', 'a', '', '', '', '', ''),
    (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (5, 0x5c5c5c, 0x5c, 0x5c78, 0x5c783030, 0x0a0d09, 0x27225c, 0xf0288cbc),
    (6, 'ab  ', ' ', 'ab  ', repeat(0xff, 255), repeat(0x00, 65535), repeat('\\', 70000), repeat(0x0a, 1000)),
    (7, 0x2020202020202020, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20);
INSERT INTO t (id, lb, mb) VALUES (8, repeat(unhex('00ff5c0a0920278081'), 233017), repeat(0x00, 2000000));
CREATE TABLE keyed (k binary(4), v varbinary(10), n int, PRIMARY KEY (k, v));
INSERT INTO keyed VALUES (0x01, '', 1), (0x01, 0x00, 2), (0x0100, 0x0000, 3), ('a', 'a', 4), ('A', 'a', 5), (0xff, 0xff, 6);
