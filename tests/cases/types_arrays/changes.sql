INSERT INTO arrays SELECT id + 10, b, i, i8, n, f, t, v, c, by, d, ts, j, u, m, p, r, pt, bx FROM arrays;
UPDATE arrays SET i = i || 4, t = t || E'\\"{},'::text WHERE id IN (1, 3, 5);
UPDATE arrays SET i = NULL, t = '{}', p = array[(2, NULL)::pair] WHERE id = 4;
UPDATE arrays SET i[7] = 7 WHERE id = 1;
UPDATE arrays SET b = '{t}' WHERE id = 6;
DELETE FROM arrays WHERE id = 13;
