CREATE TABLE t (
    id int PRIMARY KEY,
    e enum('new', 'it''s', 'a,b', 'ümläut', '', 'MiXed'),
    n enum('x', 'y') NOT NULL DEFAULT 'y',
    l enum('é', 'û', 'ß') CHARACTER SET latin1,
    s set('a', 'b', 'c d', 'é''', 'Z'),
    s64 set('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22',
        'm23','m24','m25','m26','m27','m28','m29','m30','m31','m32','m33','m34','m35','m36','m37','m38','m39','m40','m41','m42','m43',
        'm44','m45','m46','m47','m48','m49','m50','m51','m52','m53','m54','m55','m56','m57','m58','m59','m60','m61','m62','m63','m64')
) DEFAULT CHARSET utf8mb4;
INSERT INTO t VALUES
    (1, 'new', 'x', 'é', 'a', 'm1'), (2, 'it''s', 'y', 'û', 'a,b', 'm64'), (3, 'a,b', 'x', 'ß', '', ''),
    (4, 'ümläut', 'x', NULL, 'é'',Z', 'm1,m32,m33,m64'), (5, '', 'x', NULL, 'Z,a,b', 'm2,m63'), (6, NULL, 'x', NULL, NULL, NULL),
    (7, 'mixed', 'X', 'É', 'z,C D', 'M7');
CREATE TABLE keyed (k enum('one', 'two', 'three'), s set('p', 'q'), n int, PRIMARY KEY (k, s));
INSERT INTO keyed VALUES ('three', 'p', 1), ('one', 'p,q', 2), ('two', '', 3);
CREATE TABLE backslashes (
    id int PRIMARY KEY, e enum('C:\\new', '\\', 'two\nlines', 'it''s \\''d'), s set('\\\\', 'a\rb', '%\\_')
) DEFAULT CHARSET utf8mb4;
INSERT INTO backslashes VALUES (1, 'C:\\new', '\\\\'), (2, '\\', 'a\rb,%\\_'), (3, 'two\nlines', ''), (4, 'it''s \\''d', NULL);
