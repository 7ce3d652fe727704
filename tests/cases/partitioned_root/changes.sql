INSERT INTO events VALUES (5000, '2020-05-05', 'a', 'new'), (5001, '2021-05-05', 'b', NULL), (5002, '2022-05-05', 'a', 'x'), (5003, '2030-01-01', 'z', 'rest');
UPDATE events SET big = 'changed' WHERE id % 10 = 0;
-- Rows that move from one partition to another.
UPDATE events SET at = at + 365 WHERE id % 10 = 1;
UPDATE events SET kind = 'a' WHERE id % 10 = 2 AND at >= '2022-01-01';
DELETE FROM events WHERE id % 10 = 3;
CREATE TABLE events_2023 PARTITION OF events FOR VALUES FROM ('2040-01-01') TO ('2041-01-01');
INSERT INTO events VALUES (6000, '2040-05-05', 'a', 'in a new partition');

