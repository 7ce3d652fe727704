INSERT INTO numbers SELECT id + 100, b, i2, i4, i8, n, n_scaled, n_wide, f4, f8, m, i4_not_null FROM numbers;
UPDATE numbers SET n = n, f4 = f8, f8 = f4 WHERE id IN (4, 5, 6);
UPDATE numbers SET f8 = '-0', f4 = 'NaN', n = '1.100', m = '-0.50' WHERE id = 10;
UPDATE numbers SET b = NOT b, i2 = -i2, i4 = -i4, i8 = -i8 WHERE id BETWEEN 4 AND 12;
UPDATE numbers SET b = NULL, i2 = NULL, i4 = NULL, i8 = NULL, n = NULL, n_scaled = NULL, f4 = NULL, f8 = NULL, m = NULL WHERE id = 1;
DELETE FROM numbers WHERE id IN (2, 103);
INSERT INTO numbers_14 SELECT id / 2 + 5, n FROM numbers_14;
UPDATE numbers_14 SET n = -n;
