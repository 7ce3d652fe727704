CREATE TABLE parents (id int PRIMARY KEY, name varchar(20)) ENGINE=InnoDB;
CREATE TABLE children (id int PRIMARY KEY, parent int, v int, KEY (parent),
    CONSTRAINT child_of FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB;
CREATE TABLE soft (id int PRIMARY KEY, parent int, KEY (parent), FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE SET NULL) ENGINE=InnoDB;
CREATE TABLE tree (id int PRIMARY KEY, up int, KEY (up), FOREIGN KEY (up) REFERENCES tree (id)) ENGINE=InnoDB;
INSERT INTO parents VALUES (1, 'one'), (2, 'two'), (3, 'three');
INSERT INTO children VALUES (1, 1, 1), (2, 1, 2), (3, 2, 3), (4, NULL, 4);
INSERT INTO soft VALUES (1, 1), (2, 3);
INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2);
-- Rows that the constraint never saw.
SET SESSION foreign_key_checks = 0;
INSERT INTO children VALUES (5, 3, 5);
