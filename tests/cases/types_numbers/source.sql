CREATE TABLE numbers (
    id int PRIMARY KEY,
    b boolean, i2 smallint, i4 integer, i8 bigint,
    n numeric, n_scaled numeric(12, 2), n_wide numeric(1000, 500), f4 real, f8 double precision, m money,
    i4_not_null integer NOT NULL DEFAULT 7);
INSERT INTO numbers VALUES
    (1, true, 32767, 2147483647, 9223372036854775807, 'NaN', 9999999999.99, 1e499, 'NaN', 'NaN', '92233720368547758.07'),
    (2, false, -32768, -2147483648, -9223372036854775808, -0.000000000000000000001, -0.01, -1e-500, 'Infinity', 'Infinity', '-92233720368547758.08'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, true, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    (5, true, 1, 1, 1, 1.10, 1.10, 1.10, '-Infinity', '-Infinity', 1.10),
    (6, true, 1, 1, 1, 1.1000000, 100, 3, '-0', '-0', 0.01),
    (7, true, -1, -1, -1, 1e130000, 1, 1, 3.4028235e38, 1.7976931348623157e308, -0.01),
    (8, true, -1, -1, -1, 1e-16000, 1, 1, 1e-45, 5e-324, 1),
    (9, true, -1, -1, 9007199254740993, 123456789012345678901234567890.123456789, 1, 1, 0.1, 0.1, 1),
    (10, true, -1, -1, -9007199254740993, 0.00, 0, 1, 16777217, 0.30000000000000004, 1),
    (11, true, -1, -1, 1, 1e20, 0, 1, 1e20, 1e20, 1),
    (12, true, -1, -1, 1, 100000000000000000000, 0, 1, 100000, 123456789012345680, 1);
CREATE TABLE numbers_14 (id bigint PRIMARY KEY, n numeric);
SELECT current_setting('server_version_num')::int >= 140000 AS infinite \gset
\if :infinite
INSERT INTO numbers_14 VALUES (1, 'Infinity'), (2, '-Infinity'), (-9223372036854775808, 0), (9223372036854775807, 1);
\endif
