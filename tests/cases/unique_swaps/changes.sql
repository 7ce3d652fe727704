-- Through a third value.
BEGIN;
UPDATE seats SET seat = 'tmp' WHERE id = 1;
UPDATE seats SET seat = 's1' WHERE id = 2;
UPDATE seats SET seat = 's2' WHERE id = 1;
COMMIT;
-- Rotation of ten.
BEGIN;
UPDATE seats SET seat = 't' || seat WHERE id BETWEEN 10 AND 19;
UPDATE seats SET seat = 's' || (10 + (id - 9) % 10) WHERE id BETWEEN 10 AND 19;
COMMIT;
-- Deferred: the swap is one statement.
UPDATE seats SET pos = 201 - pos;
UPDATE seats SET pos = pos % 200 + 1;
-- A value that moves to a new row.
BEGIN;
DELETE FROM seats WHERE id = 30;
INSERT INTO seats VALUES (1030, 's30', 3030);
COMMIT;
BEGIN;
UPDATE seats SET seat = NULL WHERE id = 31;
INSERT INTO seats VALUES (1031, 's31', 3031);
UPDATE seats SET seat = 'was31' WHERE id = 31;
COMMIT;
-- Keys that swap.
BEGIN;
UPDATE seats SET id = -1 WHERE id = 40;
UPDATE seats SET id = 40 WHERE id = 41;
UPDATE seats SET id = 41 WHERE id = -1;
COMMIT;
BEGIN;
UPDATE emails SET email = 'x' WHERE id = 1;
UPDATE emails SET email = 'USER1@X' WHERE id = 2;
UPDATE emails SET email = 'user2@x' WHERE id = 1;
COMMIT;
BEGIN;
UPDATE partial_unique SET active = false WHERE id = 4;
UPDATE partial_unique SET active = true WHERE id = 5;
COMMIT;
BEGIN;
UPDATE partial_unique SET active = false WHERE grp = 3;
UPDATE partial_unique SET active = true WHERE id = 15;
UPDATE partial_unique SET grp = 1000 WHERE id = 16;
UPDATE partial_unique SET active = true WHERE id = 17;
COMMIT;
