-- Changes of keys, one of them from one partition to another, and two rows that swap a unique value.
\set order random(1, 60000)
\set card random(1, 9999)
UPDATE orders SET placed_at = placed_at + interval '1 year' WHERE id = :order;
UPDATE "LoyaltyCards" SET "Card No" = 'LC-X' || "customerId" || '-' || (random() * 1e9)::int WHERE "customerId" = :card;
BEGIN;
UPDATE products SET sku = 'swap' || id WHERE id = 1 + :card % 4000;
UPDATE products SET sku = sku || 'b' WHERE id = 2 + :card % 4000 AND length(sku) < 19;
UPDATE products SET sku = 'SKU+' || (random() * 1e12)::bigint WHERE id = 1 + :card % 4000;
COMMIT;
