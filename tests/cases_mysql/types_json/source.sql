CREATE TABLE t (id int PRIMARY KEY, j json, n json NOT NULL) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES
    (1, '{"a": 1, "b": [true, false, null], "c": {"d": "e"}}', '{}'),
    (2, '[9223372036854775807, -9223372036854775808, 18446744073709551615, 0, -1, 32767, 32768, -32768, -32769, 2147483648, 65536]', '[]'),
    (3, '[1.5, 0.1, 1e300, -1.5e-10, 1.0, 123456789012345680000, 0.30000000000000004, 5e-324]', '""'),
    (4, '"text with \\"quotes\\", \\\\ and \\n line, \\u0001 \\t \\/"', '"😀 ümläut 日本"'),
    (5, NULL, 'null'), (6, 'true', 'false'), (7, '1', '-1'), (8, '3.14', '1e10'),
    (9, '{"z": 1, "a": 2, "longer key": 3, "aa": {"x": [[], {}, [[[1]]]]}}', '[[], {}, ""]'),
    (10, '{"ä": "ö", "😀": "x", "": "empty key", "a\\nb": "\\u2028"}', '"a  b"');
INSERT INTO t VALUES (11, concat('{"long": "', repeat('x', 70000), '"}'), concat('[', repeat('1,', 30000), '2]'));
INSERT INTO t VALUES (12, concat('"', repeat('ä', 200), '"'), concat('{"', repeat('k', 300), '": ["', repeat('v', 20000), '"]}'));
