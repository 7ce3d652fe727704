UPDATE single SET k = -k WHERE k > 100000 AND k < 200000;
DELETE FROM single WHERE k < 1e-36 AND k > 0 AND v % 3 = 0;
UPDATE doubled SET v = v + 1, k = k * 3 WHERE k > 1e15 AND k < 1e16;
DELETE FROM doubled WHERE n = 2 AND k > 0;
