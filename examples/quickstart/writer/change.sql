-- Updates, also of rows with a large value that stays.
\set order random(1, 60000)
\set product random(1, 5000)
\set customer random(1, 30000)
UPDATE orders SET status = 'shipped', note = E'sent \U0001F4E6\n' || clock_timestamp() WHERE id = :order;
UPDATE products SET price = price + 0.01 WHERE id = :product;
INSERT INTO reviews VALUES (:product, :customer, 4.5, 'changed my mind ''again''')
    ON CONFLICT (product_id, customer_id) DO UPDATE SET stars = reviews.stars / 3, text = excluded.text;
