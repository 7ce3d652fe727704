CREATE TABLE toast (id int PRIMARY KEY, n int, a text, b bytea, c jsonb, d text);
ALTER TABLE toast ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL;
CREATE TABLE toast_key (a int, b text, big text, n int, PRIMARY KEY (a, b));
ALTER TABLE toast_key ALTER big SET STORAGE EXTERNAL;
INSERT INTO toast SELECT g, g, repeat(g::text, 3000), decode(repeat('00ff', 5000 + g), 'hex'), jsonb_build_object('k', repeat('j', 9000)), 'short' FROM generate_series(1, 200) g;
INSERT INTO toast_key SELECT g, 'b' || g, repeat(g::text, 3000), g FROM generate_series(1, 200) g;
