INSERT INTO systems SELECT id + 10, o, x, c, t, lsn, snap, ov, iv, rt, rc, rcfg FROM systems;
UPDATE systems SET o = 4294967294, lsn = '1/1', ov = '7 8' WHERE id = 1;
UPDATE systems SET o = NULL, x = NULL, lsn = NULL WHERE id = 2;
DELETE FROM systems WHERE id = 13;
INSERT INTO systems_13 (id) VALUES (9);
