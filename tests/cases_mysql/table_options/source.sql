CREATE TABLE orders (id int PRIMARY KEY, customer varchar(20), card_number varchar(20), total decimal(10,2));
INSERT INTO orders VALUES (1, 'ada', '4111', 10.00), (2, 'bob', '4222', 0.50);
CREATE TABLE plain (id int PRIMARY KEY, v text);
INSERT INTO plain VALUES (1, 'x');
CREATE TABLE audit_log (id int PRIMARY KEY, v text);
INSERT INTO audit_log VALUES (1, 'not carried');
