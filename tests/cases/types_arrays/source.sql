CREATE TYPE mood AS ENUM ('sad', 'ok', 'very "happy", yes');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE arrays (
    id int PRIMARY KEY, b bool[], i int[], i8 bigint[], n numeric[], f float8[], t text[], v varchar(5)[], c char(3)[],
    by bytea[], d date[], ts timestamptz[], j jsonb[], u uuid[], m mood[], p pair[], r int4range[], pt point[], bx box[]);
INSERT INTO arrays (id, b, i, i8, n, f, t, v, c, by, d, ts, j, u, m, p, r, pt, bx) VALUES
    (1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, '{t,f,NULL}', '{1,NULL,-3}', '{9223372036854775807}', '{NaN,1.10,NULL}', '{NaN,Infinity,-0,0.1}',
        array['', NULL, 'NULL', 'null', '{', '}', ',', '"', '\', E'\n\t', ' lead', '😀', 'a b'], '{a,"b c"}', '{a,bc}',
        array['\x', '\x00ff', NULL]::bytea[], '{infinity,"0044-03-15 BC"}', '{"2020-01-01 00:00:00+00"}',
        array['{"a": [1, "x"]}', 'null', NULL]::jsonb[], array[md5(random()::text)::uuid], array['ok', 'very "happy", yes']::mood[],
        array[(1, 'x,y')::pair, (NULL, '"')::pair, NULL], '{"[1,5)",empty}', array['(1,2)', '(3,4)']::point[], '{(1,1),(0,0);(2,2),(1,1)}'),
    (4, '{{t,f},{f,t}}', '{{1,2},{3,4}}', '{{{1}},{{2}}}', '{{1},{2}}', '{{1,2}}', '{{a,NULL},{"",c}}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (5, '[0:1]={t,f}', '[-2:0]={1,2,3}', '[5:5]={7}', '[2:3][4:5]={{1,2},{3,4}}', NULL, '[0:0]={x}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (6, NULL, ARRAY(SELECT generate_series(1, 50000)), NULL, NULL, NULL, ARRAY(SELECT 'word ' || g FROM generate_series(1, 20000) g), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
