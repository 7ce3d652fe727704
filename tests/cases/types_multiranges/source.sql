CREATE TYPE floats AS RANGE (subtype = float8, multirange_type_name = many_floats);
CREATE TABLE multiranges (id int PRIMARY KEY, i4 int4multirange, n nummultirange, d datemultirange, tz tstzmultirange, f many_floats, a int4multirange[]);
INSERT INTO multiranges VALUES
    (1, '{}', '{}', '{}', '{}', '{}', '{}'),
    (2, '{[1,5],[8,9)}', '{(,1.10),[2.0,)}', '{[2020-01-01,2020-02-01)}', '{[2020-01-01 00:00+02,2021-01-01 00:00+00]}', '{[0.1,0.2],(0.3,0.4)}', array['{[1,2)}', '{}']::int4multirange[]),
    (3, NULL, NULL, NULL, NULL, NULL, NULL);
