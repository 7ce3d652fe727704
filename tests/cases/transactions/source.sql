CREATE TABLE accounts (id int PRIMARY KEY, balance numeric(12, 2) NOT NULL, note text);
CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int, amount numeric(12, 2));
INSERT INTO accounts SELECT g, 1000, NULL FROM generate_series(1, 1000) g;
