INSERT INTO shapes SELECT id + 10, p, l, s, b, pa, po, c FROM shapes;
UPDATE shapes SET p = '(0.1,0.30000000000000004)', po = '((1,2),(3,4),(5,6.5))' WHERE id = 1;
UPDATE shapes SET p = NULL, c = '<(1,1),1e-10>' WHERE id = 3;
INSERT INTO addresses SELECT id + 10, i, c, m, m8 FROM addresses;
UPDATE addresses SET i = set_masklen(i, 8), m = trunc(m) WHERE id IN (1, 2);
UPDATE addresses SET i = NULL, c = NULL WHERE id = 3;
DELETE FROM shapes WHERE id = 2;
DELETE FROM addresses WHERE id = 14;
