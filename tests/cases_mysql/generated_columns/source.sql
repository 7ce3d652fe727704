CREATE TABLE t (
    id int PRIMARY KEY, price decimal(10,2) NOT NULL, amount int NOT NULL,
    total decimal(20,2) AS (price * amount) VIRTUAL, kept decimal(20,2) AS (price * amount) STORED,
    name varchar(20), upper_name varchar(20) AS (upper(name)) STORED, last int, KEY (kept)
);
INSERT INTO t (id, price, amount, name, last) VALUES (1, 1.50, 3, 'pear', 1), (2, 0.10, 10, 'äpfel', 2), (3, 99.99, 0, NULL, NULL);
CREATE TABLE ahead (v int AS (id + 1) VIRTUAL, id int PRIMARY KEY, s int AS (id * 2) STORED, w int);
INSERT INTO ahead (id, w) VALUES (1, 10), (2, 20);
