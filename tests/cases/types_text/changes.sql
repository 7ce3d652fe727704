INSERT INTO texts SELECT id + 100, t, v, c, c1, n, b, bits, vbits, u FROM texts;
UPDATE texts SET t = t || E'\n\\', v = reverse(v), b = b || '\x00' WHERE id IN (3, 4, 6, 7, 9);
UPDATE texts SET t = NULL, v = NULL, c = NULL, c1 = NULL, n = NULL, b = NULL WHERE id = 5;
UPDATE texts SET t = '', b = '', c = '', vbits = B'' WHERE id = 2;
UPDATE texts SET t = 'NULL', c = 'a b' WHERE id = 1;
UPDATE texts SET v = 'other' WHERE id = 10;
UPDATE texts SET t = repeat('new ', 50000), b = decode(repeat('00ff', 50000), 'hex') WHERE id = 110;
DELETE FROM texts WHERE id = 108;
