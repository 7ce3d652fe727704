UPDATE orders SET card_number = 'secret' WHERE id = 1;
UPDATE orders SET total = 0, id = id + 1000 WHERE id < 5;
DELETE FROM orders WHERE id = 9;
INSERT INTO audit_log VALUES ('y');
UPDATE other.kept SET v = 'y';
UPDATE other.not_chosen SET v = 'y';
