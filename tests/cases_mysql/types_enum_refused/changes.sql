SET SESSION sql_mode = '';
INSERT INTO t VALUES (3, 'bogus', 'bogus', 'bogus');
UPDATE t SET e = 'old', n = 'none' WHERE id = 2;
