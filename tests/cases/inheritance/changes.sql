UPDATE ONLY parent SET v = 'only parent' WHERE id < 10;
UPDATE parent SET v = v || ', all' WHERE id % 5 = 0;
DELETE FROM ONLY child WHERE id = 45;
DELETE FROM parent WHERE id = 41;
TRUNCATE ONLY child;
INSERT INTO child VALUES (100, 'new', 1);
