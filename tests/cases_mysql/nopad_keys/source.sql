CREATE TABLE t (k varchar(40) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, v int) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES ('a', 1), ('b ', 2), ('😀', 3);
CREATE TABLE strict (k varchar(40) COLLATE utf8mb4_0900_as_cs PRIMARY KEY, v int) DEFAULT CHARSET utf8mb4;
INSERT INTO strict VALUES ('a', 1), ('A', 2), ('ä', 3);
