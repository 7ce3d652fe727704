CREATE TABLE items (id int PRIMARY KEY, name varchar(20), n int) DEFAULT CHARSET utf8mb4;
INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2);
CREATE TABLE plain (id int PRIMARY KEY, v int);
INSERT INTO plain VALUES (1, 1);
