INSERT INTO t VALUES (4, 'b\0', '\0\0', '\0end');
UPDATE t SET v = 'x\0', c = '\0x' WHERE id = 3;
