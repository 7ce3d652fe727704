CREATE TABLE plain (id int PRIMARY KEY, v varchar(20)) WITH SYSTEM VERSIONING;
INSERT INTO plain VALUES (1, 'a'), (2, 'b'), (3, 'c');
UPDATE plain SET v = 'a2' WHERE id = 1;
DELETE FROM plain WHERE id = 2;
CREATE TABLE other (id int PRIMARY KEY, v int);
INSERT INTO other VALUES (1, 1);
