CREATE TABLE old (id int PRIMARY KEY, v varchar(20)) DEFAULT CHARSET utf8mb4;
INSERT INTO old VALUES (1, 'a'), (2, 'b');
