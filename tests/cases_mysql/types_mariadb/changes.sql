INSERT INTO t (id, u, i6, i4, hidden, packed, blobbed, texted, j)
    SELECT id + 10, u, i6, i4, hidden, packed, blobbed, texted, j FROM t;
UPDATE t SET hidden = 99, u = '123e4567-e89b-12d3-a456-426655440001', i4 = '1.2.3.4' WHERE id = 1;
UPDATE t SET packed = repeat('y', 1000), blobbed = repeat(0x01, 2000), texted = repeat('z', 100000) WHERE id IN (2, 13);
INSERT INTO t (id, j) VALUES (30, '{"b": [1, 2,   3]}');
UPDATE keyed_u SET n = 10 WHERE u = '123e4567-e89b-12d3-a456-426655440000';
DELETE FROM keyed_u WHERE n = 2;
UPDATE keyed_i SET i = 'fe80::2' WHERE n = 2;
INSERT INTO numbered (v) VALUES ('c');
DELETE FROM t WHERE id = 5;
