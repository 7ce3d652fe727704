CREATE TYPE status AS ENUM ('new', 'done');
CREATE TABLE items (id int PRIMARY KEY, name varchar(10) NOT NULL, n smallint, gone text, s status, price numeric(6, 2));
CREATE TABLE others (id int PRIMARY KEY, v text NOT NULL);
INSERT INTO items SELECT g, 'n' || g, g, 'gone', 'new', g FROM generate_series(1, 500) g;
INSERT INTO others SELECT g, 'v' FROM generate_series(1, 500) g;
