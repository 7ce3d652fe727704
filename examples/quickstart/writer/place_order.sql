-- One transaction over six tables.
\set customer random(1, 40000)
\set lines random(1, 5)
\set product random(1, 4990)
BEGIN;
SELECT nextval('order_ids') AS id \gset order_
INSERT INTO orders VALUES (:order_id, '2025-06-01 00:00+00'::timestamptz + :customer * interval '1 second', :customer, 'placed', 0, NULL);
INSERT INTO order_items SELECT :order_id, l, :product + l, 1, price FROM generate_series(1, :lines) l JOIN products ON id = :product + l;
UPDATE orders SET total = (SELECT sum(amount * price) FROM order_items WHERE order_id = :order_id) WHERE id = :order_id;
UPDATE inventory SET amount = amount - 1 WHERE warehouse = 'BER' AND product_id BETWEEN :product + 1 AND :product + :lines;
INSERT INTO payments VALUES (gen_random_uuid(), :order_id, 1.99::numeric::money, '{"code": "01"}', now(), NULL);
UPDATE customers SET credit = credit + 0.01, attributes = attributes || '{"active": true}' WHERE id = :customer;
INSERT INTO audit_log (at, client, flags, action) VALUES (now(), '2001:db8::1/64', B'00000001', 'order ' || :order_id);
COMMIT;
