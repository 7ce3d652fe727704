UPDATE events SET v = 10 WHERE kind = 'b';
DELETE FROM events WHERE v = 3;
INSERT INTO events VALUES ('2024-01-03 00:00:00', 'c', 4);
UPDATE events SET kind = 'z' WHERE v = 1;
