UPDATE items SET n = -n WHERE id % 2 = 0;
INSERT INTO items VALUES (1000, 'x', NULL);
DELETE FROM items WHERE id % 3 = 0;
