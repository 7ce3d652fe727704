CREATE TABLE events (at datetime(6) NOT NULL, kind varchar(10) NOT NULL, v int) DEFAULT CHARSET utf8mb4;
INSERT INTO events VALUES ('2024-01-01 00:00:00.000001', 'a', 1), ('2024-01-01 00:00:00.000001', 'b', 2), ('2024-01-02 00:00:00', 'a', 3);
