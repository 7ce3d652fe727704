CREATE TABLE two (a int, v text, b int, PRIMARY KEY (b, a));
CREATE TABLE three (region text, at timestamptz, n smallint, v text, PRIMARY KEY (at, region, n));
CREATE TABLE only_key (a int, b text, PRIMARY KEY (a, b));
CREATE TABLE unique_not_null (a int NOT NULL, b text NOT NULL, v text, CONSTRAINT un UNIQUE (a, b));
ALTER TABLE unique_not_null REPLICA IDENTITY USING INDEX un;
INSERT INTO two SELECT g % 100, 'v' || g, g / 100 FROM generate_series(0, 4999) g;
INSERT INTO three SELECT 'r' || g % 7, '2020-01-01'::timestamptz + g / 7 * interval '1 microsecond', g % 3, 'v' || g FROM generate_series(0, 699) g;
INSERT INTO only_key SELECT g, 'k' || g FROM generate_series(1, 300) g;
INSERT INTO unique_not_null SELECT g % 10, 'b' || g, 'v' FROM generate_series(1, 300) g;
