-- Each store writes floats in its own way; ranges of keys are the same rows at both ends all the same.
CREATE TABLE digits (n int PRIMARY KEY);
INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
CREATE TABLE single (k float PRIMARY KEY, v int);
INSERT INTO single SELECT (a.n * 100 + b.n * 10 + c.n) * 1000 - 3333, a.n FROM digits a, digits b, digits c;
INSERT INTO single SELECT (a.n * 100 + b.n * 10 + c.n + 1) * 2e-38, b.n FROM digits a, digits b, digits c;
INSERT INTO single VALUES (1e20, 1), (16777216, 2), (-1e38, 3), (3.4e38, 4), (0, 5), (0.1, 6), (-0.7, 7);
CREATE TABLE doubled (k double PRIMARY KEY, v int);
INSERT INTO doubled SELECT (a.n * 100 + b.n * 10 + c.n) * 1e13 / 7, a.n FROM digits a, digits b, digits c;
INSERT INTO doubled VALUES (1.79e308, 1), (-1.79e308, 2), (5e-324, 3), (1e16, 4), (1e-5, 5), (0.1, 6);
CREATE TABLE fixed (k float(9,2), n int, v int, PRIMARY KEY (k, n));
INSERT INTO fixed SELECT (a.n * 100 + b.n * 10 + c.n) / 3, c.n, b.n FROM digits a, digits b, digits c;
