CREATE TABLE systems (
    id int PRIMARY KEY, o oid, x xid, c cid, t tid, lsn pg_lsn, snap txid_snapshot, ov oidvector, iv int2vector,
    rt regtype, rc regclass, rcfg regconfig);
INSERT INTO systems VALUES
    (1, 0, '0', '0', '(0,0)', '0/0', '10:20:10,14,15', '', '', 'integer', 'pg_class', 'simple'),
    (2, 4294967295, '4294967295', '4294967295', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF', '1:1:', '1 2 4294967295', '-1 32767', 'timestamp with time zone', 'pg_catalog.pg_type', 'english'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, 2147483648, '2147483648', '1', '(1,1)', '16/B374D848', '9223372036854775806:9223372036854775807:', '0', '0', 'text[]', NULL, NULL);
CREATE TABLE systems_13 (id int PRIMARY KEY);
SELECT current_setting('server_version_num')::int >= 130000 AS newer \gset
\if :newer
ALTER TABLE systems_13 ADD x8 xid8, ADD ps pg_snapshot;
INSERT INTO systems_13 VALUES (1, '18446744073709551615', '10:20:10,14'), (2, '0', '1:1:'), (3, NULL, NULL);
\endif
