CREATE TABLE never_filled (id int PRIMARY KEY, v text);
CREATE TABLE filled_later (id int PRIMARY KEY, v text);
CREATE TABLE emptied (id int PRIMARY KEY, v text);
INSERT INTO emptied VALUES (1, 'x');
