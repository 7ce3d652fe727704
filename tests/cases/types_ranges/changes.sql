INSERT INTO ranges SELECT id + 10, i4, i8, n, d, ts, tz, f, o FROM ranges;
UPDATE ranges SET i4 = i4 + int4range(5, 10), n = 'empty', o = '[A,B]' WHERE id = 2;
UPDATE ranges SET i4 = '[7,8)', tz = NULL WHERE id IN (1, 3);
DELETE FROM ranges WHERE id = 5;
