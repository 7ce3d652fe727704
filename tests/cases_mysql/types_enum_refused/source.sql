-- A value that was refused: number 0, which reads as the empty text. A strict session cannot write it back.
CREATE TABLE t (id int PRIMARY KEY, e enum('new', 'old') CHARACTER SET latin1, n enum('x', 'y') NOT NULL, s set('a', 'b'));
SET SESSION sql_mode = '';
INSERT INTO t VALUES (1, 'bogus', 'bogus', 'bogus'), (2, 'new', 'x', 'a,b');
