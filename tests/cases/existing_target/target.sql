-- Columns in another order and one more that may be empty, made by somebody else before.
CREATE TABLE items (n int, loaded_at timestamptz DEFAULT now(), id int PRIMARY KEY, name text);
