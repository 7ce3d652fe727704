CREATE TABLE seats (id int PRIMARY KEY, seat text UNIQUE, pos int, UNIQUE (pos) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE emails (id int PRIMARY KEY, email text, big text);
CREATE UNIQUE INDEX emails_lower ON emails (lower(email));
CREATE TABLE partial_unique (id int PRIMARY KEY, grp int, active boolean);
CREATE UNIQUE INDEX one_active ON partial_unique (grp) WHERE active;
INSERT INTO seats SELECT g, 's' || g, g FROM generate_series(1, 200) g;
INSERT INTO emails SELECT g, 'User' || g || '@x', repeat('b', 5000) FROM generate_series(1, 200) g;
INSERT INTO partial_unique SELECT g, g / 4, g % 4 = 0 FROM generate_series(0, 199) g;
