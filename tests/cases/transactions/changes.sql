BEGIN;
UPDATE accounts SET balance = balance - 10 WHERE id = 1;
UPDATE accounts SET balance = balance + 10 WHERE id = 2;
INSERT INTO log (account, amount) VALUES (1, -10), (2, 10);
COMMIT;
BEGIN;
UPDATE accounts SET balance = 0;
DELETE FROM log;
ROLLBACK;
BEGIN;
INSERT INTO log (account, amount) VALUES (3, 1);
SAVEPOINT a;
INSERT INTO log (account, amount) VALUES (3, 2);
DELETE FROM accounts WHERE id = 3;
SAVEPOINT b;
UPDATE accounts SET note = 'lost' WHERE id = 4;
ROLLBACK TO b;
UPDATE accounts SET note = 'kept' WHERE id = 5;
ROLLBACK TO a;
UPDATE accounts SET note = 'also kept' WHERE id = 6;
RELEASE a;
COMMIT;
-- One row, changed many times.
BEGIN;
INSERT INTO accounts VALUES (2000, 0, 'new');
UPDATE accounts SET balance = 1 WHERE id = 2000;
DELETE FROM accounts WHERE id = 2000;
INSERT INTO accounts VALUES (2000, 2, 'again');
UPDATE accounts SET id = 2001 WHERE id = 2000;
INSERT INTO accounts VALUES (2000, 3, 'third');
DELETE FROM accounts WHERE id = 2001;
INSERT INTO accounts VALUES (2002, 3, 'gone');
DELETE FROM accounts WHERE id = 2002;
COMMIT;
-- Every key moves by one, over its neighbour.
BEGIN;
UPDATE accounts SET id = -id WHERE id BETWEEN 100 AND 199;
UPDATE accounts SET id = 1 - id WHERE id BETWEEN -199 AND -100 AND id <> -199;
UPDATE accounts SET id = 100 WHERE id = -199;
COMMIT;
-- Many subtransactions.
DO $$
BEGIN
    FOR i IN 1..200 LOOP
        BEGIN
            UPDATE accounts SET balance = balance + i WHERE id = 300 + i;
            IF i % 3 = 0 THEN RAISE 'undone'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END $$;
-- Prepared text does not matter: many small transactions one after the other.
SELECT format('UPDATE accounts SET balance = balance + %s WHERE id = %s', g, 500 + g % 100) FROM generate_series(1, 1000) g \gexec
-- A large one.
INSERT INTO log (account, amount) SELECT g % 1000, g FROM generate_series(1, 100000) g;
UPDATE log SET amount = -amount;
DELETE FROM log WHERE id % 2 = 0;
BEGIN;
UPDATE accounts SET note = 'empty transaction follows';
COMMIT;
BEGIN;
COMMIT;
