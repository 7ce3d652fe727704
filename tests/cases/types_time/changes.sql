SET timezone = 'Asia/Kathmandu';
SET datestyle = 'German, DMY';
SET intervalstyle = 'iso_8601';
INSERT INTO times SELECT id + 100, d, t, t0, tz, ts, ts3, tstz, i, iy FROM times;
UPDATE times SET i = i * -1 WHERE id IN (3, 6, 7, 9, 10);
UPDATE times SET tstz = '2024-03-31 03:30:00.000001 Europe/Paris', d = 'infinity', ts = '0044-03-15 12:00 BC' WHERE id = 5;
UPDATE times SET d = NULL, t = NULL, tz = NULL, ts = NULL, tstz = NULL, i = NULL WHERE id = 1;
DELETE FROM times WHERE id = 2;
