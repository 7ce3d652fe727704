CREATE TABLE documents (id int PRIMARY KEY, j json, jb jsonb, x xml, v tsvector, q tsquery, p jsonpath);
INSERT INTO documents VALUES
    (1, '{}', '{}', '<a/>', '', '', '$'),
    (2, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, '{"b": 1,  "a": 1, "a": 2,
        "spaces":   [ ]}', '{"b": 1,  "a": 1, "a": 2}', '<a b="c">text &amp; &lt; é</a>', 'a:1A,2B fat:3C ''qu''''ote'':4 back\\slash:5', 'fat & (rat | !cat) <-> ''new york'':AB*', '$.a[*] ? (@.b > 1 && @.c like_regex "^x")'),
    (4, '123456789012345678901234567890.1234567890', '123456789012345678901234567890.1234567890', 'content only', to_tsvector('english', 'The quick brown foxes jumped over 12.5 lazy dogs'), to_tsquery('english', 'jump & dog'), 'strict $.x'),
    (5, '1e1000', '1e100', '<a/><b/>', NULL, NULL, NULL),
    (6, 'null', 'null', '<?xml version="1.0"?><a>1</a>', NULL, NULL, NULL),
    (7, '"\u00e9 \n \\ \" 😀"', '"\u00e9 \n \\ \" 😀"', '<![CDATA[ <x> ]]>', NULL, NULL, NULL),
    (8, '[1, 2.50, -0, -0.0, true, null, "x"]', '[1, 2.50, -0, -0.0, true, null, "x"]', NULL, NULL, NULL, NULL),
    (9, '{"long": "0"}', jsonb_build_object('long', repeat('z', 200000), 'k', '{"n": [[[]]]}'::jsonb), NULL, NULL, NULL, NULL);
