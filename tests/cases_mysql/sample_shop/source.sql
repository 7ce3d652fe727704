CREATE TABLE countries (code char(2) CHARACTER SET ascii PRIMARY KEY, name varchar(60) NOT NULL, vat decimal(4,2) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET utf8mb4;
CREATE TABLE customers (
    id int unsigned AUTO_INCREMENT PRIMARY KEY, email varchar(100) NOT NULL, name varchar(80) NOT NULL, country char(2) CHARACTER SET ascii NOT NULL,
    born date, newsletter tinyint(1) NOT NULL DEFAULT 0, made timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE KEY (email), KEY (country), FOREIGN KEY (country) REFERENCES countries (code)) ENGINE=InnoDB DEFAULT CHARSET utf8mb4;
CREATE TABLE categories (id smallint unsigned PRIMARY KEY, parent smallint unsigned, name varchar(50), KEY (parent),
    FOREIGN KEY (parent) REFERENCES categories (id)) ENGINE=InnoDB DEFAULT CHARSET utf8mb4;
CREATE TABLE products (
    sku varchar(20) CHARACTER SET latin1 PRIMARY KEY, category smallint unsigned, title varchar(100) NOT NULL, description text,
    price decimal(10,2) NOT NULL, weight float, tags set('new', 'sale', 'used'), picture blob, changed datetime(6), KEY (category),
    FOREIGN KEY (category) REFERENCES categories (id)) ENGINE=InnoDB DEFAULT CHARSET utf8mb4;
CREATE TABLE stock (sku varchar(20) CHARACTER SET latin1, place enum('north', 'south', 'shop') NOT NULL, amount int NOT NULL, PRIMARY KEY (sku, place),
    FOREIGN KEY (sku) REFERENCES products (sku)) ENGINE=InnoDB DEFAULT CHARSET utf8mb4;
CREATE TABLE orders (
    id bigint unsigned AUTO_INCREMENT PRIMARY KEY, customer int unsigned NOT NULL, state enum('open', 'paid', 'sent', 'returned') NOT NULL DEFAULT 'open',
    placed datetime(3) NOT NULL, note varchar(200), KEY (customer), KEY (state, placed),
    FOREIGN KEY (customer) REFERENCES customers (id)) ENGINE=InnoDB DEFAULT CHARSET utf8mb4;
CREATE TABLE order_lines (
    order_id bigint unsigned NOT NULL, line tinyint unsigned NOT NULL, sku varchar(20) CHARACTER SET latin1 NOT NULL, amount smallint unsigned NOT NULL,
    price decimal(10,2) NOT NULL, PRIMARY KEY (order_id, line), KEY (sku),
    FOREIGN KEY (order_id) REFERENCES orders (id), FOREIGN KEY (sku) REFERENCES products (sku)) ENGINE=InnoDB DEFAULT CHARSET utf8mb4;
CREATE TABLE payments (
    id char(36) CHARACTER SET ascii PRIMARY KEY, order_id bigint unsigned NOT NULL, amount decimal(12,2) NOT NULL, at timestamp(6) NULL DEFAULT NULL,
    token varbinary(32), took time(3), KEY (order_id), FOREIGN KEY (order_id) REFERENCES orders (id)) ENGINE=InnoDB DEFAULT CHARSET utf8mb4;
INSERT INTO countries VALUES ('DE', 'Deutschland', 19.00), ('FR', 'France', 20.00), ('CZ', 'Česko', 21.00);
INSERT INTO customers (email, name, country, born, newsletter, made) VALUES ('ada@example.org', 'Ada', 'DE', '1815-12-10', 1, '2024-01-01 10:00:00'),
    ('marie@example.org', 'Marie ♥', 'FR', NULL, 0, '2024-01-02 10:00:00'), ('jan@example.org', 'Jan Žižka', 'CZ', '1990-02-28', 1, '2024-03-31 03:30:00');
INSERT INTO categories VALUES (1, NULL, 'All'), (2, 1, 'Books'), (3, 1, 'Bücher & mehr');
INSERT INTO products VALUES ('B-1', 2, 'A book', 'Long\ntext', 12.90, 0.35, 'new', 0x89504e47, '2024-01-01 00:00:00.000001'),
    ('B-2', 2, 'Another', NULL, 0.99, NULL, 'sale,used', NULL, NULL), ('Ü-3', 3, 'Übung', '', 100, 1.5, '', '', '2024-06-01 12:00:00');
INSERT INTO stock VALUES ('B-1', 'north', 10), ('B-1', 'shop', 2), ('B-2', 'south', 0), ('Ü-3', 'shop', -1);
INSERT INTO orders (customer, state, placed, note) VALUES (1, 'open', '2024-05-01 08:00:00.123', NULL), (2, 'paid', '2024-05-02 09:00:00', 'gift 🎁');
INSERT INTO order_lines VALUES (1, 1, 'B-1', 1, 12.90), (1, 2, 'B-2', 3, 0.99), (2, 1, 'Ü-3', 1, 100.00);
INSERT INTO payments VALUES ('5b0f7c1e-0000-4000-8000-000000000001', 2, 100.00, '2024-05-02 09:00:01.5', 0x00112233, '00:00:01.250');
