UPDATE items SET name = 'before' WHERE id = 1;
ALTER TABLE items RENAME COLUMN name TO title;
UPDATE items SET title = 'after' WHERE id = 2;
UPDATE others SET v = 'goes on';
INSERT INTO others VALUES (101, 'goes on');
