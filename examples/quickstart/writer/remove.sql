-- Deletes, one of them undone.
\set order random(1, 60000)
\set product random(1, 5000)
BEGIN;
DELETE FROM order_items WHERE order_id = :order;
DELETE FROM payments WHERE order_id = :order;
DELETE FROM orders WHERE id = :order;
COMMIT;
DELETE FROM reviews WHERE product_id = :product;
BEGIN;
DELETE FROM inventory WHERE product_id = :product;
ROLLBACK;
UPDATE products SET description = repeat('new text ', 2000) WHERE id = :product;
