CREATE TABLE t (
    id int PRIMARY KEY, g geometry, p point, l linestring, y polygon, mp multipoint, ml multilinestring, my multipolygon,
    gc geometrycollection
);
INSERT INTO t VALUES
    (1, ST_GeomFromText('POINT(1 2)'), ST_GeomFromText('POINT(-1.5 1e10)'), ST_GeomFromText('LINESTRING(0 0,1 1,2 0)'),
        ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 4,0 0),(1 1,2 1,2 2,1 1))'), ST_GeomFromText('MULTIPOINT(1 1,2 2)'),
        ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))'),
        ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))'),
        ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, ST_GeomFromText('LINESTRING(1 1,2 2)', 4326), ST_GeomFromText('POINT(10 20)', 4326), NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE places (id int PRIMARY KEY, at point NOT NULL, name varchar(20));
INSERT INTO places VALUES (1, ST_GeomFromText('POINT(7 8)'), 'seven'), (2, ST_GeomFromText('POINT(0 0)'), 'zero');
