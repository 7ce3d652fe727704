CREATE TYPE floats AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE "Odd Range" AS RANGE (subtype = text, collation = "C");
CREATE TABLE ranges (id int PRIMARY KEY, i4 int4range, i8 int8range, n numrange, d daterange, ts tsrange, tz tstzrange, f floats, o "Odd Range");
INSERT INTO ranges VALUES
    (1, 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', 'empty'),
    (2, '[1,5]', '(,9223372036854775807)', '[1.10,2.0)', '[2020-01-01,infinity)', '[2020-01-01 00:00,)', '[2020-01-01 00:00+02,2021-01-01 00:00+00]', '[0.1,0.2]', '["a,b","c d")'),
    (3, '(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '(,)'),
    (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (5, '[-2147483648,0)', '[0,1)', '(-1,1]', '[0044-03-15 BC,0001-01-01)', '[-infinity,infinity]', '(-infinity,infinity)', '[-Infinity,Infinity]', E'["q""uote","z\\\\y"]');
