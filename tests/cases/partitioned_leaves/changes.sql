INSERT INTO events VALUES (5000, '2020-05-05', 'new'), (5001, '2031-05-05', 'rest');
UPDATE events SET v = 'changed' WHERE id % 10 = 0;
UPDATE events SET at = at + 365 WHERE id % 10 = 1;
DELETE FROM events WHERE id % 10 = 3;
TRUNCATE events_2020;
INSERT INTO events_2020 VALUES (1, '2020-02-02', 'again');
INSERT INTO other VALUES (1);
