-- What a key may do (`predict`, `adapt` or `admin`), and until when.

ALTER TABLE keys ADD COLUMN scope TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE keys ADD COLUMN expires_at INTEGER;
