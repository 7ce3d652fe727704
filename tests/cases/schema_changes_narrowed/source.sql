CREATE TABLE items (id int PRIMARY KEY, n text);
CREATE TABLE others (id int PRIMARY KEY, v text);
INSERT INTO items SELECT g, g::text FROM generate_series(1, 100) g;
INSERT INTO others SELECT g, 'v' FROM generate_series(1, 100) g;
