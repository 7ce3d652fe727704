INSERT INTO filled_later VALUES (1, 'now'), (2, NULL);
DELETE FROM emptied;
