CREATE TABLE copied (PRIMARY KEY (id)) SELECT * FROM old;
UPDATE copied SET v = 'c' WHERE id = 1;
INSERT INTO old VALUES (3, 'd');
