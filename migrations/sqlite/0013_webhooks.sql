-- Who is to be told, and what is on its way to them.

CREATE TABLE webhooks (
    tenant_id       TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id              TEXT NOT NULL,
    url             TEXT   NOT NULL,
    -- JSON array; empty for all.
    topics          TEXT   NOT NULL,
    -- Base64. Signing needs it as it is. The one before is signed with, too, until `previous_until`.
    secret          TEXT   NOT NULL,
    previous_secret TEXT,
    previous_until  INTEGER,
    -- Whether anything is sent, and why not.
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    disabled_reason TEXT,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

-- One row for each message to each webhook. A message that is posted twice is there once.
CREATE TABLE deliveries (
    tenant_id   TEXT NOT NULL,
    webhook_id  TEXT NOT NULL,
    message_id  TEXT NOT NULL,
    topic       TEXT   NOT NULL,
    -- What is sent, byte for byte.
    payload     TEXT   NOT NULL,
    status      TEXT   NOT NULL,
    -- Counted when it is taken up; the fence.
    attempt     INTEGER NOT NULL DEFAULT 0,
    -- On the database's clock.
    next_at     INTEGER NOT NULL DEFAULT 0,
    taken_until INTEGER NOT NULL DEFAULT 0,
    -- What came of the last attempt.
    answered    INTEGER,
    error       TEXT,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, webhook_id, message_id),
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhooks (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- What may be taken up. Partial: what was delivered costs nothing.
CREATE INDEX deliveries_pending ON deliveries (next_at) WHERE status = 'pending';
-- The list, newest first.
CREATE INDEX deliveries_newest ON deliveries (tenant_id, webhook_id, created_at, message_id);
