CREATE TABLE items (id int PRIMARY KEY, name text, n int);
INSERT INTO items SELECT g, 'n' || g, g FROM generate_series(1, 300) g;
