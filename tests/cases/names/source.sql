CREATE SCHEMA "Sales Dept";
CREATE SCHEMA "select";
CREATE TABLE "Orders" ("Id" int PRIMARY KEY, "Camel Case" text, "select" text, "user" text, "a""quote" text, "semi;colon" text, "--" text, " lead" text);
CREATE TABLE "order" ("group" int PRIMARY KEY, "from" text, "rowid" int, "_rowid_" text, "oid" text);
CREATE TABLE "it's a ""table""" (id int PRIMARY KEY, v text);
CREATE TABLE "Sales Dept"."Больше.точка" ("ключ" int, "Ключ2" text, "emoji 😀" text, PRIMARY KEY ("Ключ2", "ключ"));
CREATE TABLE "select"."table" ("primary" int PRIMARY KEY, "null" text, "index" int UNIQUE);
CREATE TABLE a23456789012345678901234567890123456789012345678901234567890123 (
    c23456789012345678901234567890123456789012345678901234567890123 int PRIMARY KEY,
    d23456789012345678901234567890123456789012345678901234567890123 text);
CREATE TABLE "percent%s" (id int PRIMARY KEY, "%d" text, "back\slash" text, "$1" text, "{}" text, "tab	tab" text);
CREATE INDEX "Index With Space" ON "Orders" ("Camel Case", "select");
CREATE UNIQUE INDEX "index;drop" ON "order" ("from");
INSERT INTO "Orders" SELECT g, 'c' || g, 's', 'u', 'q', 's;', '--', ' l' FROM generate_series(1, 20) g;
INSERT INTO "order" SELECT g, 'f' || g, g, 'r', 'o' FROM generate_series(1, 20) g;
INSERT INTO "it's a ""table""" VALUES (1, 'x'), (2, 'y');
INSERT INTO "Sales Dept"."Больше.точка" SELECT g, 'k' || g, '😀' FROM generate_series(1, 20) g;
INSERT INTO "select"."table" SELECT g, 'n', g FROM generate_series(1, 20) g;
INSERT INTO a23456789012345678901234567890123456789012345678901234567890123 SELECT g, 'd' FROM generate_series(1, 20) g;
INSERT INTO "percent%s" SELECT g, '%', '\', '$1', '{}', E'\t' FROM generate_series(1, 20) g;
