CREATE TABLE shapes (id int PRIMARY KEY, p point, l line, s lseg, b box, pa path, po polygon, c circle);
INSERT INTO shapes VALUES
    (1, '(0,0)', '{1,-1,0}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(0,0),1>'),
    (2, '(1e300,-1e-300)', '{0.1,0.2,0.3}', '[(-1.5,0.1),(1e10,1)]', '(Infinity,1),(-Infinity,0)', '((0,0),(1,1))', '((0,0))', '<(0.1,0.2),0>'),
    (3, '(NaN,-0)', NULL, NULL, NULL, NULL, NULL, NULL),
    (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE addresses (id int PRIMARY KEY, i inet, c cidr, m macaddr, m8 macaddr8);
INSERT INTO addresses VALUES
    (1, '127.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05'),
    (2, '192.168.1.5/24', '0.0.0.0/0', 'ffff.ffff.ffff', 'ffffffffffffffff'),
    (3, '::1', '::/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00'),
    (4, '2001:db8::ff00:42:8329/64', '2001:db8::/32', NULL, '08:00:2b:01:02:03'),
    (5, '::ffff:1.2.3.4/128', '10.1.2.3/32', NULL, NULL),
    (6, NULL, NULL, NULL, NULL);
