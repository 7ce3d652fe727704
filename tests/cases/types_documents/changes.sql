INSERT INTO documents SELECT id + 100, j, jb, x, v, q, p FROM documents;
UPDATE documents SET jb = jb || '{"new": [1.10, "\t"]}' WHERE id = 3;
UPDATE documents SET j = '"x"' WHERE id = 9;
UPDATE documents SET jb = jsonb_set(jb, '{k}', 'null') WHERE id = 109;
UPDATE documents SET j = NULL, jb = NULL, x = NULL, v = NULL WHERE id = 4;
UPDATE documents SET j = 'null', jb = 'null' WHERE id = 2;
DELETE FROM documents WHERE id = 6;
