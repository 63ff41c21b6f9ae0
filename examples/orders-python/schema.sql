-- Run once by the owner of the database. The service's users, which alternate as their password is rotated, may add and look.
CREATE TABLE IF NOT EXISTS orders (number integer NOT NULL, cents integer NOT NULL);
CREATE TABLE IF NOT EXISTS prices (number integer PRIMARY KEY, cents integer NOT NULL);
INSERT INTO prices SELECT number, number * 100 FROM generate_series(0, 999) AS number ON CONFLICT DO NOTHING;
GRANT SELECT, INSERT ON orders TO PUBLIC;
GRANT SELECT ON prices TO PUBLIC;
