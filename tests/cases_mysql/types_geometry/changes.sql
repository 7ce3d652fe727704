INSERT INTO t SELECT id + 10, g, p, l, y, mp, ml, my, gc FROM t;
UPDATE t SET g = ST_GeomFromText('POINT(3 4)', 4326), p = NULL WHERE id = 1;
UPDATE t SET p = ST_GeomFromText('POINT(0.1 0.2)'), gc = gc WHERE id = 2;
UPDATE places SET at = ST_GeomFromText('POINT(9 9)') WHERE id = 1;
DELETE FROM places WHERE id = 2;
DELETE FROM t WHERE id = 11;
