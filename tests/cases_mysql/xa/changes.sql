-- Prepared, and committed after what others did meanwhile.
-- session one
XA START 'one', 'branch', 7;
INSERT INTO t VALUES (10, 'ten'), (11, 'eleven');
UPDATE t SET v = 'uno' WHERE id = 1;
DELETE FROM u WHERE a = 1;
XA END 'one', 'branch', 7;
XA PREPARE 'one', 'branch', 7;
-- session two
INSERT INTO t VALUES (20, 'between');
UPDATE t SET v = 'dos' WHERE id = 2;
-- Another one that is prepared at the same time, and never counts.
XA START 'two';
DELETE FROM t WHERE id IN (3, 4);
INSERT INTO u VALUES (7, 'never', 7);
XA END 'two';
XA PREPARE 'two';
-- session three
-- The same rows one after the other, and the same name again.
XA START X'00ff', X'', 1;
INSERT INTO u VALUES (3, 'z', 3.25);
SAVEPOINT s;
INSERT INTO u VALUES (4, 'taken back', 4);
ROLLBACK TO SAVEPOINT s;
UPDATE t SET v = concat(v, '!') WHERE id = 20;
XA END X'00ff', X'', 1;
XA PREPARE X'00ff', X'', 1;
-- session one
XA COMMIT 'one', 'branch', 7;
UPDATE t SET v = 'uno again' WHERE id = 1;
-- session three
XA COMMIT X'00ff', X'', 1;
XA START X'00ff', X'', 1;
UPDATE t SET v = concat(v, '?') WHERE id = 20;
XA END X'00ff', X'', 1;
XA PREPARE X'00ff', X'', 1;
XA COMMIT X'00ff', X'', 1;
-- session two
XA ROLLBACK 'two';
DELETE FROM t WHERE id = 4;
-- In one phase, and taken back before it is prepared.
XA START 'single';
INSERT INTO t VALUES (30, 'at once');
XA END 'single';
XA COMMIT 'single' ONE PHASE;
XA START 'single';
INSERT INTO t VALUES (31, 'never');
XA END 'single';
XA ROLLBACK 'single';
-- More than is held in memory, while a small one is.
-- session one
XA START 'large';
INSERT INTO t SELECT 1000 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n, repeat(char(97 + a.n), 590) FROM
    (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) a,
    (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) b,
    (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) c,
    (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) d,
    (SELECT 0 n UNION SELECT 1) e;
XA END 'large';
XA PREPARE 'large';
-- session two
XA START 'small';
UPDATE t SET v = 'tres' WHERE id = 3;
XA END 'small';
XA PREPARE 'small';
-- session four
INSERT INTO u VALUES (9, 'last but two', 9);
-- session one
XA COMMIT 'large';
-- session two
XA COMMIT 'small';
DELETE FROM t WHERE id % 3 = 0 AND id >= 1000;
