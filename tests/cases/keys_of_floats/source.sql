-- Each store writes floats in its own way; ranges of keys are the same rows at both ends all the same.
CREATE TABLE single (k float4 PRIMARY KEY, v int);
INSERT INTO single SELECT g * 1000 - 3333, g FROM generate_series(1, 1000) g;
INSERT INTO single SELECT g * 2e-38, g FROM generate_series(1, 500) g;
INSERT INTO single VALUES (1e20, 1), (16777216, 2), (-1e38, 3), (3.4e38, 4), (0, 5), (0.1, 6), (-0.7, 7);
CREATE TABLE doubled (k float8, n int, v int, PRIMARY KEY (k, n));
INSERT INTO doubled SELECT g * 1e13 / 7, g % 3, g FROM generate_series(1, 1000) g;
INSERT INTO doubled VALUES (1.79e308, 1, 1), (-1.79e308, 2, 2), (5e-324, 3, 3), (1e15, 4, 4), (1e-5, 5, 5), (0.1, 6, 6);
