-- Run once by the owner of the database. The service's users, which alternate as their password is rotated, may add.
CREATE TABLE IF NOT EXISTS shipments (number integer NOT NULL, state text NOT NULL);
GRANT INSERT ON shipments TO PUBLIC;
