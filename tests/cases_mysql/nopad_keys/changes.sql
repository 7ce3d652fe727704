INSERT INTO t VALUES ('a ', 10), ('b', 20), ('😎', 30);
UPDATE t SET v = 11 WHERE k = 'a';
DELETE FROM t WHERE k = 'b';
INSERT INTO strict VALUES ('a ', 10), ('Ä', 30), ('á', 40);
UPDATE strict SET k = 'A ' WHERE k = 'A';
