CREATE TABLE keyless (a int NOT NULL, b text NOT NULL, v text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
INSERT INTO keyless SELECT g, 'b' || g, 'v' FROM generate_series(1, 300) g;
