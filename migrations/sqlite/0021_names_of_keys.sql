-- What its owner calls a key, to know it again in a list.
ALTER TABLE keys ADD COLUMN name TEXT;
