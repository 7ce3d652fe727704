UPDATE single SET k = -k WHERE k > 100000 AND k < 200000;
DELETE FROM single WHERE k < 1e-36 AND k > 0 AND v = 3;
UPDATE doubled SET v = v + 1, k = k * 3 WHERE k > 1e15 AND k < 1e16;
INSERT INTO fixed VALUES (1234.56, 1, 1), (-0.01, 1, 1);
DELETE FROM fixed WHERE n = 4;
