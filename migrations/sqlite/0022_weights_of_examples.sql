-- For how many examples one counts. Signals have theirs in `value`.
ALTER TABLE support ADD COLUMN weight REAL NOT NULL DEFAULT 1;
