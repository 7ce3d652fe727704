UPDATE orders SET card_number = 'changed' WHERE id = 1;
UPDATE orders SET total = 11 WHERE id = 1;
INSERT INTO orders VALUES (3, 'cy', NULL, NULL);
DELETE FROM orders WHERE id = 2;
INSERT INTO audit_log VALUES (2, 'neither');
UPDATE plain SET v = 'y';
