-- Requests that carry an `Idempotency-Key`: one row each, from the moment that it is taken up until it expires.

CREATE TABLE requests (
    tenant_id    TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- What the request was sent to: a key is unique for each path.
    path         TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    -- SHA-256 of what was sent, in hexadecimal.
    fingerprint  TEXT    NOT NULL,
    -- What its ids are drawn from: taken up again after a crash, it makes the same rows.
    seed         BLOB    NOT NULL CHECK (length(seed) = 32),
    -- Counted when it is taken up; the fence, as for adaptations.
    attempt      INTEGER NOT NULL,
    -- Until when nobody else takes it up. On the database's clock.
    locked_until INTEGER NOT NULL,
    -- The answer, once there is one; headers are a JSON array of pairs.
    status       INTEGER,
    headers      TEXT,
    body         BLOB,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, path, key)
) STRICT;

CREATE INDEX requests_expired ON requests (tenant_id, expires_at);

-- Which request undid a promotion: rolling back is the one effect that has no id of its own.
ALTER TABLE promotions ADD COLUMN undone_by TEXT;
