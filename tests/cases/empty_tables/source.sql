CREATE TABLE empty (id int PRIMARY KEY, v text);
CREATE TABLE filled_later (id int PRIMARY KEY);
CREATE TABLE grows_columns (id int PRIMARY KEY);
CREATE TABLE one_row (id int PRIMARY KEY, v text);
INSERT INTO one_row VALUES (1, NULL);
INSERT INTO grows_columns VALUES (1), (2);
CREATE TABLE emptied (id int PRIMARY KEY);
INSERT INTO emptied SELECT generate_series(1, 100);
