SET search_path = public, ext;
INSERT INTO extended SELECT id + 10, h, c, l, i, cu, ha FROM extended;
UPDATE extended SET h = h || 'new=>"va\\lue"', c = 'mIXED', l = 'Top.Art' WHERE id = 2;
UPDATE extended SET h = NULL, c = NULL WHERE id = 1;
UPDATE by_citext SET c = 'ALPHA' WHERE c = 'alpha';
UPDATE by_citext SET n = 22 WHERE c = 'BETA';
DELETE FROM by_citext WHERE c = 'gamma';
INSERT INTO by_citext VALUES ('gamma', 4);
