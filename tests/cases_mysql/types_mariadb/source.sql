CREATE TABLE t (
    id int PRIMARY KEY, u uuid, i6 inet6, i4 inet4, hidden int INVISIBLE DEFAULT 7,
    packed varchar(1000) COMPRESSED, blobbed blob COMPRESSED, texted longtext COMPRESSED, j json
);
INSERT INTO t (id, u, i6, i4, hidden, packed, blobbed, texted, j) VALUES
    (1, '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329', '192.168.0.1', 1, repeat('x', 900), repeat(0xff, 500),
        repeat('ä', 5000), '{"a":  1}'),
    (2, '00000000-0000-0000-0000-000000000000', '::', '0.0.0.0', NULL, '', '', '', '[1,2]'),
    (3, 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF', '::ffff:192.168.0.1', '255.255.255.255', -1, 'short', 0x00, '\0'' plain', NULL),
    (4, NULL, NULL, NULL, DEFAULT, NULL, NULL, NULL, '"\\u00e4"'),
    (5, '018f6f2e-7b1a-7c3d-8e4f-0123456789ab', 'ff02::1', '10.0.0.0', 0, repeat(' ', 300), repeat(0x00, 300), repeat(' ', 300), 'null');
UPDATE t SET texted = 'no zero character' WHERE id = 3;
CREATE TABLE keyed_u (u uuid PRIMARY KEY, n int);
INSERT INTO keyed_u VALUES ('123e4567-e89b-12d3-a456-426655440000', 1), ('00000001-e89b-12d3-0456-426655440000', 2);
CREATE TABLE keyed_i (i inet6 PRIMARY KEY, n int);
INSERT INTO keyed_i VALUES ('::1', 1), ('fe80::1', 2);
CREATE SEQUENCE numbers START WITH 5;
CREATE TABLE numbered (id int PRIMARY KEY DEFAULT NEXT VALUE FOR numbers, v varchar(10));
INSERT INTO numbered (v) VALUES ('a'), ('b');
