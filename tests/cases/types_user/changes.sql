INSERT INTO people SELECT id + 10, m, m2, e, pos, s, ms, a, n FROM people;
UPDATE people SET m = 'ünï', a.number = 77, n.addr.street = 'new' WHERE id = 1;
UPDATE people SET m = NULL, m2 = NULL, e = NULL, a = NULL WHERE id = 2;
UPDATE people SET a = ROW('line
break', -1, NULL, NULL) WHERE id = 3;
UPDATE by_mood SET m = '' WHERE m = 'ok';
INSERT INTO by_mood VALUES ('it''s "great"', 3), ('ok', 4);
DELETE FROM people WHERE id = 14;
DELETE FROM by_mood WHERE m = 'sad';
