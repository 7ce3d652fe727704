-- Two tables for each character set: its bytes are given, so that what the client sends plays no part.
CREATE TABLE latin1_t (id int PRIMARY KEY, c char(10), v varchar(300), t text) DEFAULT CHARSET latin1;
INSERT INTO latin1_t VALUES
    (1, _latin1 0x808182838485868788, _latin1 0x898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f, _latin1 0xa0a1a2a3fffefdfcdfe4),
    (2, 'plain', 'caf\xe9 no escape', ''), (3, '', '', NULL), (4, NULL, NULL, 'x');
CREATE TABLE utf8_t (id int PRIMARY KEY, c char(10), v varchar(100), t mediumtext) DEFAULT CHARSET utf8;
INSERT INTO utf8_t VALUES (1, 'äöüß€', 'Ω≈ç√∫˜µ≤≥÷', '日本語テキスト'), (2, 'trail   ', 'trail   ', 'trail   '), (3, '', ' ', '');
CREATE TABLE utf8mb4_t (id int PRIMARY KEY, c char(10), v varchar(100), t longtext, y tinytext) DEFAULT CHARSET utf8mb4;
INSERT INTO utf8mb4_t VALUES
    (1, '😀👩‍👩‍👧', '🇩🇪 flag, e\u0301', '𝔘𝔫𝔦𝔠𝔬𝔡𝔢', '𐍈'),
    (2, 'a\tb', 'a\nb\r\nc', 'back\\slash \\N \\. "quoted" \'single\'', '\b\Z%_'),
    (3, '\\N', '\\.', 'NULL', '{}'), (4, ' lead', '\ttab', '\n', '\r'), (5, NULL, NULL, NULL, NULL);
CREATE TABLE sjis_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET sjis;
INSERT INTO sjis_t VALUES (1, _sjis 0x93fa967b, _sjis 0x835c955c5c, _sjis 0xb1b2b3), (2, 'ascii', '', NULL);
CREATE TABLE cp932_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET cp932;
INSERT INTO cp932_t VALUES (1, _cp932 0x93fa967b, _cp932 0x8740ed40fa40, _cp932 0x8160817c), (2, 'ascii', '', NULL);
CREATE TABLE gbk_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET gbk;
INSERT INTO gbk_t VALUES (1, _gbk 0xd6d0cec4, _gbk 0xbfa35c, _gbk 0x81408180f7fe), (2, 'ascii', '', NULL);
CREATE TABLE gb2312_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET gb2312;
INSERT INTO gb2312_t VALUES (1, _gb2312 0xd6d0cec4, _gb2312 0xa1a1a1a2, _gb2312 0xb0a1), (2, 'ascii', '', NULL);
CREATE TABLE big5_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET big5;
INSERT INTO big5_t VALUES (1, _big5 0xa4a4a4e5, _big5 0xa55c, _big5 0xb35cae40), (2, 'ascii', '', NULL);
CREATE TABLE euckr_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET euckr;
INSERT INTO euckr_t VALUES (1, _euckr 0xc7d1b1db, _euckr 0xb0a1b0a2, _euckr 0xc8fe), (2, 'ascii', '', NULL);
CREATE TABLE ujis_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET ujis;
INSERT INTO ujis_t VALUES (1, _ujis 0xc6fccbdc, _ujis 0x8eb18eb2, _ujis 0xa4a2), (2, 'ascii', '', NULL);
CREATE TABLE ucs2_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET ucs2;
INSERT INTO ucs2_t VALUES (1, 'äß', '日本', 'Ω'), (2, 'trail  ', 'trail  ', ''), (3, NULL, '', NULL);
CREATE TABLE utf16_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET utf16;
INSERT INTO utf16_t VALUES (1, 'äß😀', '日本😀', 'Ω'), (2, 'trail  ', 'trail  ', ''), (3, NULL, '', NULL);
CREATE TABLE utf16le_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET utf16le;
INSERT INTO utf16le_t VALUES (1, 'äß😀', '日本😀', 'Ω'), (2, 'trail  ', 'trail  ', '');
CREATE TABLE utf32_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET utf32;
INSERT INTO utf32_t VALUES (1, 'äß😀', '日本😀', 'Ω'), (2, 'trail  ', 'trail  ', '');
CREATE TABLE ascii_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET ascii;
INSERT INTO ascii_t VALUES (1, 'plain', '~ !"#$%&', '\Z\t'), (2, '', '', '');
CREATE TABLE koi8r_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET koi8r;
INSERT INTO koi8r_t VALUES (1, _koi8r 0xf0f2e9f7e5f4, _koi8r 0x808182a3b3, _koi8r 0xffc1), (2, 'ascii', '', NULL);
CREATE TABLE cp1251_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET cp1251;
INSERT INTO cp1251_t VALUES (1, _cp1251 0xcff0e8e2e5f2, _cp1251 0x8081a8b8, _cp1251 0xff), (2, 'ascii', '', NULL);
CREATE TABLE cp1250_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET cp1250;
INSERT INTO cp1250_t VALUES (1, _cp1250 0x8a8d8e9a9d9e, _cp1250 0xa5b9bc, _cp1250 0xfe), (2, 'ascii', '', NULL);
CREATE TABLE latin2_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET latin2;
INSERT INTO latin2_t VALUES (1, _latin2 0xa1a3a5a6, _latin2 0xb1b3b5b6, _latin2 0xfe), (2, 'ascii', '', NULL);
CREATE TABLE latin5_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET latin5;
INSERT INTO latin5_t VALUES (1, _latin5 0xd0dddef0fdfe, _latin5 0xe4f6fc, _latin5 0xff), (2, 'ascii', '', NULL);
CREATE TABLE latin7_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET latin7;
INSERT INTO latin7_t VALUES (1, _latin7 0xc0c1c2, _latin7 0xe0e1e2, _latin7 0xfe), (2, 'ascii', '', NULL);
CREATE TABLE greek_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET greek;
INSERT INTO greek_t VALUES (1, _greek 0xc1c2c3, _greek 0xe1e2e3, _greek 0xfe), (2, 'ascii', '', NULL);
CREATE TABLE hebrew_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET hebrew;
INSERT INTO hebrew_t VALUES (1, _hebrew 0xe0e1e2, _hebrew 0xf9fa, _hebrew 0xe3), (2, 'ascii', '', NULL);
CREATE TABLE tis620_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET tis620;
INSERT INTO tis620_t VALUES (1, _tis620 0xa1a2a3, _tis620 0xe0e1e2, _tis620 0xfb), (2, 'ascii', '', NULL);
CREATE TABLE cp850_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET cp850;
INSERT INTO cp850_t VALUES (1, _cp850 0x808182, _cp850 0x848e94, _cp850 0xe1), (2, 'ascii', '', NULL);
CREATE TABLE cp866_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET cp866;
INSERT INTO cp866_t VALUES (1, _cp866 0x808182, _cp866 0xa0a1a2, _cp866 0xf0), (2, 'ascii', '', NULL);
CREATE TABLE macroman_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET macroman;
INSERT INTO macroman_t VALUES (1, _macroman 0x808182, _macroman 0x8a9a9f, _macroman 0xa7), (2, 'ascii', '', NULL);
CREATE TABLE eucjpms_t (id int PRIMARY KEY, c char(10), v varchar(100), t text) DEFAULT CHARSET eucjpms;
INSERT INTO eucjpms_t VALUES (1, _eucjpms 0xc6fccbdc, _eucjpms 0xada1, _eucjpms 0xa4a2), (2, 'ascii', '', NULL);
CREATE TABLE mixed (
    id int PRIMARY KEY,
    a varchar(20) CHARACTER SET latin1, b varchar(20) CHARACTER SET sjis, c char(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    d text CHARACTER SET koi8r, e varchar(20) CHARACTER SET binary, f text CHARACTER SET ascii, n int, g char(0)
) DEFAULT CHARSET gbk;
INSERT INTO mixed VALUES
    (1, 'é€', '日本', 'é  ', 'Привет', 0x00ff80, 'x', 7, ''), (2, NULL, '', '', '', '', '', NULL, NULL);
