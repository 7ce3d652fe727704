CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (extra int, PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE grandchild (PRIMARY KEY (id)) INHERITS (child);
INSERT INTO parent SELECT g, 'parent' FROM generate_series(1, 50) g;
INSERT INTO child SELECT g, 'child', g FROM generate_series(1, 50) g;
INSERT INTO grandchild SELECT g, 'grandchild', g FROM generate_series(40, 60) g;
