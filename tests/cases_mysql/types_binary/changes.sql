INSERT INTO t SELECT id + 10, b, b1, v, tb, bb, mb, lb FROM t;
UPDATE t SET b = 0x00ff, v = 0xff00, lb = reverse(lb) WHERE id IN (2, 8);
UPDATE t SET bb = concat(bb, 0x00) WHERE id = 15;
UPDATE t SET b = 'z' WHERE id = 18;
DELETE FROM t WHERE id = 12;
UPDATE keyed SET n = n + 10 WHERE k = 0x01000000;
UPDATE keyed SET k = 0x02000000 WHERE v = 0x00;
DELETE FROM keyed WHERE k = 'A\0\0\0';
INSERT INTO keyed VALUES ('A', 'A', 7);
