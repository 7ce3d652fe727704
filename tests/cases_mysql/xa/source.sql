CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(600)) ENGINE = InnoDB;
CREATE TABLE u (a INT, b VARCHAR(20), n DECIMAL(20, 5), PRIMARY KEY (a, b)) ENGINE = InnoDB;
INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four');
INSERT INTO u VALUES (1, 'x', 1.5), (2, 'y', 2.5);
XA START 'before', 'copy', 3;
INSERT INTO t VALUES (5, 'five');
XA END 'before', 'copy', 3;
XA PREPARE 'before', 'copy', 3;
XA COMMIT 'before', 'copy', 3;
