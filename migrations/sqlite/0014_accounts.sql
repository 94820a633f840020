-- What each tenant had of the server and did to its things, and what receipts are signed with.

-- Added to every few seconds, not with each request.
CREATE TABLE usage (
    tenant_id   TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- Days since 1970, in UTC.
    day         INTEGER NOT NULL,
    requests    INTEGER NOT NULL,
    predictions INTEGER NOT NULL,
    adaptations INTEGER NOT NULL,
    compute_ms  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day)
) STRICT;

-- One row for each request that changed something, or was not allowed to.
CREATE TABLE audit (
    tenant_id     TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id            TEXT NOT NULL,
    key_id        TEXT,
    method        TEXT   NOT NULL,
    path          TEXT   NOT NULL,
    status        INTEGER NOT NULL,
    request_id    TEXT   NOT NULL,
    -- The connection's other end, and what a proxy says is behind it.
    peer          TEXT,
    forwarded_for TEXT,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX audit_newest ON audit (tenant_id, created_at, id);

-- The seed of an Ed25519 key, in hexadecimal: one for all servers on this database.
CREATE TABLE signing_keys (
    name       TEXT   NOT NULL PRIMARY KEY,
    seed       TEXT   NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
