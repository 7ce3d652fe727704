INSERT INTO multiranges SELECT id + 10, i4, n, d, tz, f, a FROM multiranges;
UPDATE multiranges SET i4 = i4 + '{[100,200)}', f = '{}' WHERE id = 2;
UPDATE multiranges SET i4 = NULL WHERE id = 1;
