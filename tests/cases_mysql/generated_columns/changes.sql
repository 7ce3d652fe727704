INSERT INTO t (id, price, amount, name, last) VALUES (4, 5.00, 2, 'fig', 4);
UPDATE t SET amount = amount + 1, name = concat(ifnull(name, ''), 'x') WHERE id IN (1, 3);
DELETE FROM t WHERE id = 2;
INSERT INTO ahead (id, w) VALUES (3, 30);
UPDATE ahead SET w = NULL, id = 20 WHERE id = 2;
