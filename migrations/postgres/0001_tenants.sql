-- Tenants and the keys by which they are known.
-- Moments are milliseconds since 1970 and ids are texts, as in the other folder: one set of statements serves both.
-- Ids compare byte by byte (COLLATE "C"), so that pages have the same order whatever the database's locale.

CREATE TABLE tenants (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    -- Number of the last turn that this tenant had at the queue: the lowest is next.
    turn       BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
);

-- The next turn is the highest plus one.
CREATE INDEX tenants_turn ON tenants (turn);

CREATE TABLE keys (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- SHA-256 of the whole key: the key itself is never stored.
    digest     BYTEA  NOT NULL CHECK (length(digest) = 32),
    created_at BIGINT NOT NULL
);

CREATE INDEX keys_tenant ON keys (tenant_id);
