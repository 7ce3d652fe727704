CREATE SCHEMA parts;
CREATE TABLE events (id bigint, at date NOT NULL, kind text, big text, PRIMARY KEY (id, at, kind)) PARTITION BY RANGE (at);
CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
-- Its columns stand in another order.
CREATE TABLE parts.events_2021 (big text, kind text NOT NULL, dropped int, at date NOT NULL, id bigint NOT NULL);
ALTER TABLE parts.events_2021 DROP COLUMN dropped;
ALTER TABLE events ATTACH PARTITION parts.events_2021 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE events_2022 PARTITION OF events FOR VALUES FROM ('2022-01-01') TO ('2023-01-01') PARTITION BY LIST (kind);
CREATE TABLE events_2022_a PARTITION OF events_2022 FOR VALUES IN ('a');
CREATE TABLE events_2022_rest PARTITION OF events_2022 DEFAULT;
CREATE TABLE events_rest PARTITION OF events DEFAULT;
INSERT INTO events SELECT g, '2019-06-01'::date + g, chr(97 + g % 3), repeat('b', g) FROM generate_series(1, 1500) g;
