-- Rows that change, come and go by DDL are in no event of the log.
SET SESSION sql_mode = '';
CREATE TABLE again (id int PRIMARY KEY, a int);
INSERT INTO again VALUES (1, 10), (2, 20);
CREATE TABLE strictly (id int PRIMARY KEY, a int, s varchar(20));
INSERT INTO strictly VALUES (1, 10, 'x'), (2, NULL, NULL);
CREATE TABLE narrowed (id int PRIMARY KEY, s varchar(20), t varchar(20)) DEFAULT CHARSET utf8mb4;
INSERT INTO narrowed VALUES (1, 'plain', 'Привет'), (2, 'snow ☃', 'mixed ☃ Ж');
CREATE TABLE numbered (id int PRIMARY KEY, v int);
INSERT INTO numbered VALUES (7, 1), (8, 2), (9, 3);
CREATE TABLE parts (id int PRIMARY KEY, v int) PARTITION BY RANGE (id) (
    PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20), PARTITION p2 VALUES LESS THAN (30), PARTITION p3 VALUES LESS THAN (40));
INSERT INTO parts VALUES (1, 1), (11, 11), (12, 12), (21, 21), (31, 31);
CREATE TABLE `odd ``name` (id int PRIMARY KEY, v int);
INSERT INTO `odd ``name` VALUES (2, 200), (3, 300);
