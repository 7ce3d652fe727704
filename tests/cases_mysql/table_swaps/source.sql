-- As gh-ost and pt-online-schema-change change a table: a copy beside it takes its place in one statement.
CREATE TABLE orders (id int PRIMARY KEY, v varchar(20)) DEFAULT CHARSET utf8mb4;
INSERT INTO orders VALUES (1, 'a'), (2, 'b'), (3, 'c');
CREATE TABLE kept (id int PRIMARY KEY, v int);
INSERT INTO kept VALUES (1, 1);
