INSERT INTO t VALUES (4, 'd', 40);
INSERT INTO t (id, v, hidden, w) VALUES (5, 'e', 55, 50);
UPDATE t SET hidden = 99 WHERE id = 1;
UPDATE t SET w = 0 WHERE id = 3;
DELETE FROM t WHERE id = 2;
