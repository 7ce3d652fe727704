CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v int);
INSERT INTO t (v) VALUES (1), (2), (3);
CREATE TABLE kept (id int PRIMARY KEY, v int);
INSERT INTO kept VALUES (1, 1);
CREATE TABLE emptied (id int PRIMARY KEY, v int);
INSERT INTO emptied VALUES (1, 1), (2, 2);
CREATE TABLE twice (id int PRIMARY KEY, v int);
INSERT INTO twice VALUES (1, 1);
