CREATE TABLE items (id int PRIMARY KEY, name text);
CREATE TABLE others (id int PRIMARY KEY, v text);
INSERT INTO items SELECT g, 'n' || g FROM generate_series(1, 100) g;
INSERT INTO others SELECT g, 'v' FROM generate_series(1, 100) g;
