INSERT INTO filled_later SELECT generate_series(1, 100);
ALTER TABLE grows_columns ADD v text;
INSERT INTO grows_columns VALUES (3, 'x');
UPDATE grows_columns SET v = 'y' WHERE id = 1;
DELETE FROM emptied;
DELETE FROM one_row;
