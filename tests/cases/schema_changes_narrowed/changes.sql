ALTER TABLE items ALTER n TYPE int USING n::int;
UPDATE items SET n = 5 WHERE id = 2;
UPDATE others SET v = 'goes on';
