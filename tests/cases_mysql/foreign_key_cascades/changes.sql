DELETE FROM parents WHERE id = 1;
UPDATE parents SET id = 20 WHERE id = 2;
BEGIN; DELETE FROM parents WHERE id = 3; INSERT INTO parents VALUES (3, 'again'); INSERT INTO children VALUES (4, 3); COMMIT;
