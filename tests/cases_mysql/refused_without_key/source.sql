CREATE TABLE keyed (id int PRIMARY KEY);
CREATE TABLE keyless (v int, w int, UNIQUE KEY (v));
INSERT INTO keyless VALUES (1, 1), (NULL, 2), (NULL, 2);
