CREATE TABLE parents (id int PRIMARY KEY, name varchar(20));
CREATE TABLE children (id int PRIMARY KEY, parent int, KEY (parent),
    FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE grandchildren (id int PRIMARY KEY, child int, KEY (child), FOREIGN KEY (child) REFERENCES children (id) ON DELETE SET NULL);
INSERT INTO parents VALUES (1, 'one'), (2, 'two'), (3, 'three');
INSERT INTO children VALUES (1, 1), (2, 1), (3, 2), (4, 3);
INSERT INTO grandchildren VALUES (1, 1), (2, 3), (3, 4);
