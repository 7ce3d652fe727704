UPDATE t SET id = 10 WHERE id = 1;
UPDATE t SET id = id + 100 WHERE id IN (2, 3) ORDER BY id DESC;
UPDATE t SET id = 1, v = 'one again' WHERE id = 10;
BEGIN; UPDATE t SET id = 0 WHERE id = 4; UPDATE t SET id = 4 WHERE id = 5; UPDATE t SET id = 5 WHERE id = 0; COMMIT;
UPDATE t SET id = id + 1 ORDER BY id DESC;
UPDATE t SET id = id - 1 ORDER BY id;
INSERT INTO t VALUES (200, 'new', NULL);
UPDATE t SET id = 201 WHERE id = 200;
DELETE FROM t WHERE id = 201;
INSERT INTO t VALUES (201, 'newer', NULL);
-- Values of a unique index that change hands.
BEGIN; UPDATE u SET code = 'tmp' WHERE id = 1; UPDATE u SET code = 'a' WHERE id = 2; UPDATE u SET code = 'b' WHERE id = 1; COMMIT;
BEGIN; DELETE FROM u WHERE id = 3; INSERT INTO u VALUES (4, 'c'); COMMIT;
UPDATE u SET id = 30, code = 'z' WHERE id = 4;
INSERT INTO u VALUES (4, 'c');
