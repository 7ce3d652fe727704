CREATE TABLE `select` (`from` int PRIMARY KEY, `where` int, `order` varchar(10), `group` int);
INSERT INTO `select` VALUES (1, 1, 'x', 1), (2, NULL, NULL, NULL);
CREATE TABLE `with space` (`a b` int PRIMARY KEY, ` lead` int, `tab	in` int);
INSERT INTO `with space` VALUES (1, 1, 1);
CREATE TABLE `quo"te's` (`i"d` int PRIMARY KEY, `it's` int, `back``tick` int, `back\slash` int, `per%cent` int, `dol$lar` int, `semi;colon` int);
INSERT INTO `quo"te's` VALUES (1, 1, 1, 1, 1, 1, 1);
CREATE TABLE `tick``ed` (id int PRIMARY KEY, `{brace}` int, `?` int, `a.b` int, `:colon` int);
INSERT INTO `tick``ed` VALUES (1, 1, 1, 1, 1);
CREATE TABLE `tächle_日本` (`schlüssel` int PRIMARY KEY, `値` varchar(20) CHARACTER SET utf8mb4);
INSERT INTO `tächle_日本` VALUES (1, 'ü');
CREATE TABLE `UPPER_Case` (`Id` int PRIMARY KEY, `ID2` int, `cAmEl` int);
INSERT INTO `UPPER_Case` VALUES (1, 1, 1);
CREATE TABLE `123` (`1` int PRIMARY KEY, `2e5` int);
INSERT INTO `123` VALUES (1, 1);
CREATE TABLE `dotted.name` (id int PRIMARY KEY, v int);
INSERT INTO `dotted.name` VALUES (1, 1);
CREATE TABLE sixty_three_characters_are_what_names_may_have_at_the_most_here (
    id int PRIMARY KEY, sixty_three_characters_are_what_names_may_have_at_the_most_here int);
INSERT INTO sixty_three_characters_are_what_names_may_have_at_the_most_here VALUES (1, 1);
