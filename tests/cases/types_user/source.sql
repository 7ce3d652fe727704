CREATE SCHEMA "Types";
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s "great"', 'ünï', '');
CREATE TYPE "Types"."Mood" AS ENUM ('x', 'y');
CREATE TYPE unused AS ENUM ('never');
CREATE DOMAIN email AS text CHECK (value LIKE '%@%');
CREATE DOMAIN "Types".positive AS numeric(10, 2) NOT NULL DEFAULT 1 CHECK (value > 0);
CREATE DOMAIN small AS "Types".positive CHECK (value < 1000);
CREATE DOMAIN moods AS mood[];
CREATE TYPE address AS (street text, number int, "Zip Code" varchar(10), kind mood);
CREATE TYPE nested AS (id int, addr address, tags text[], at timestamptz);
CREATE TABLE people (
    id int PRIMARY KEY, m mood, m2 "Types"."Mood" DEFAULT 'y', e email, pos "Types".positive, s small, ms moods, a address, n nested);
INSERT INTO people VALUES
    (1, 'sad', 'x', 'a@b', 1.10, 5, '{ok,""}', ('High "St", 5', 5, 'A\B', 'ok'), (1, ('x', NULL, '', 'ünï'), '{a,"b,c"}', '2020-01-01 00:00+00')),
    (2, 'it''s "great"', 'y', '@', 99999999.99, 999.99, '{}', (NULL, NULL, NULL, NULL), (NULL, NULL, NULL, NULL)),
    (3, '', NULL, NULL, 0.01, 0.01, NULL, NULL, NULL),
    (4, NULL, NULL, NULL, 1, 1, NULL, ('', 0, ' ', ''), NULL);
CREATE TABLE by_mood (m mood PRIMARY KEY, n int);
INSERT INTO by_mood VALUES ('ok', 1), ('sad', 2);
