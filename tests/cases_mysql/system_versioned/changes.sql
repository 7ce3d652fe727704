INSERT INTO plain VALUES (4, 'd'), (5, 'e');
UPDATE plain SET v = 'changed' WHERE id IN (1, 4);
UPDATE plain SET v = 'again' WHERE id = 1;
DELETE FROM plain WHERE id IN (3, 5);
INSERT INTO plain VALUES (3, 'back');
UPDATE plain SET id = 40 WHERE id = 4;
UPDATE other SET v = 2;
