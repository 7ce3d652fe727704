CREATE TABLE fine (id int PRIMARY KEY);
CREATE TABLE keyless (a int, b text);
INSERT INTO fine VALUES (1);
INSERT INTO keyless VALUES (1, 'x');
