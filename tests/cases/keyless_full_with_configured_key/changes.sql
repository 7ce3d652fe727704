UPDATE keyless SET v = 'new' WHERE a % 3 = 0;
UPDATE keyless SET a = a + 1000 WHERE a % 5 = 0;
DELETE FROM keyless WHERE a % 7 = 0;
INSERT INTO keyless VALUES (7, 'b7', 'again');
