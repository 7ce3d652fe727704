UPDATE t SET v = 10 WHERE code = 'a' AND area = 2;
UPDATE t SET code = 'c' WHERE code = 'b';
DELETE FROM t WHERE area = 1 AND code = 'a';
INSERT INTO t VALUES (4, 'd', 4, 'new'), (5, 'a', 1, 'back');
UPDATE two SET loose = 5, big = 'changed' WHERE small = 1;
DELETE FROM two WHERE small = 3;
