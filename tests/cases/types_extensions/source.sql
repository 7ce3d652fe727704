CREATE EXTENSION hstore;
CREATE SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION ltree;
CREATE EXTENSION isn;
CREATE EXTENSION cube;
CREATE TABLE extended (id int PRIMARY KEY, h hstore, c ext.citext, l ltree, i isbn13, cu cube, ha hstore[]);
INSERT INTO extended VALUES
    (1, '', '', '', '978-0-393-04002-9', '(1,2,3)', '{}'),
    (2, 'a=>1, "b c"=>NULL, "q\"uote"=>"x, y"', 'MiXed', 'Top.Science.Astronomy', NULL, '(0.1,0.2),(1,1)', array['a=>1'::hstore, NULL]),
    (3, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE by_citext (c ext.citext PRIMARY KEY, n int);
INSERT INTO by_citext VALUES ('Alpha', 1), ('beta', 2), ('GAMMA', 3);
