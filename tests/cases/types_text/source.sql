CREATE TABLE texts (id int PRIMARY KEY, t text, v varchar(20), c char(10), c1 "char", n name, b bytea, bits bit(5), vbits bit varying, u uuid);
INSERT INTO texts VALUES
    (1, '', '', '', '', '', '', B'00000', B'', '00000000-0000-0000-0000-000000000000'),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, E'tab\there\nnew\rline \\ back \\N \\. \\x41', E'\t', E'\\', E'\\', E'\\N', '\x00ff5c0a0d09', B'10101', B'1', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'),
    (4, E'quote '' double " percent % dollar $$ ${HOME} $1', E'''"', '  lead', ' ', 'NULL', '\xdeadbeef', B'11111', B'101010101010101010101010101010101010101010101010101010101010101010101', md5(random()::text)::uuid),
    (5, 'NULL', '\N', '\.', 'a', 'null', convert_to('text', 'UTF8'), NULL, NULL, NULL),
    (6, E'emoji 😀👩‍👩‍👧‍👦 Ünïcødé 中文 עברית \u200b\u202e e\u0301', '中文😀', 'é', 'z', 'ñandú', '\x', B'00001', B'0', md5(random()::text)::uuid),
    (7, E'\x01\x02\x1f\x7f', E'\x0b\x0c\x08', E'\x01', E'\x7f', E'\x02', decode(repeat('00', 1000), 'hex'), NULL, NULL, NULL),
    (8, 'trailing   ', 'trailing ', 'pad', NULL, NULL, NULL, NULL, NULL, NULL),
    (9, '{"not":"json"} {1,2} 2020-01-01 1e5 true', '00123', '1.0', '1', '0x10', '\x31', NULL, NULL, NULL),
    (10, repeat('long ', 30000), 'x', 'x', 'x', 'x', decode(repeat('deadbeef', 30000), 'hex'), NULL, repeat('10', 5000)::varbit, NULL),
    (11, chr(1114111) || chr(65535) || chr(128), 'x', 'x', 'x', repeat('n', 63), NULL, NULL, NULL, NULL);
