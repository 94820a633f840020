-- Bulk predictions: many inputs of one task, in pieces, answered piece by piece.

CREATE TABLE bulks (
    tenant_id   TEXT NOT NULL,
    id          TEXT NOT NULL,
    task_id     TEXT NOT NULL,
    version     INTEGER NOT NULL,
    top_k       INTEGER NOT NULL,
    abstain     INTEGER NOT NULL CHECK (abstain IN (0, 1)),
    status      TEXT NOT NULL,
    lines       INTEGER NOT NULL DEFAULT 0,
    answered    INTEGER NOT NULL DEFAULT 0,
    refused     INTEGER NOT NULL DEFAULT 0,
    -- Of its pieces, inputs that wait and answers.
    bytes       INTEGER NOT NULL DEFAULT 0,
    -- Counted at each claim: the fence, as in adaptations.
    attempt     INTEGER NOT NULL DEFAULT 0,
    -- Claims since a piece was answered last. A piece that kills whoever takes it ends the whole.
    strikes     INTEGER NOT NULL DEFAULT 0,
    -- Between tenants, as in adaptations; given anew after each turn.
    place       INTEGER NOT NULL DEFAULT 0,
    -- JSON.
    failure     TEXT,
    worker      TEXT,
    -- These three, and all that end, are on the database's clock.
    lease_until INTEGER,
    not_before  INTEGER NOT NULL DEFAULT 0,
    expires_at  INTEGER,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- Partial: what has ended costs a claim nothing.
CREATE INDEX bulks_next ON bulks (place, created_at, id) WHERE status = 'queued';
CREATE INDEX bulks_running ON bulks (lease_until) WHERE status = 'running';
CREATE INDEX bulks_expiring ON bulks (expires_at);
-- The list, newest first.
CREATE INDEX bulks_newest ON bulks (tenant_id, task_id, created_at, id);

-- The place of what was claimed last: nobody's past counts.
ALTER TABLE tenants ADD COLUMN bulk_turn INTEGER NOT NULL DEFAULT 0;

CREATE TABLE bulk_pieces (
    tenant_id   TEXT NOT NULL,
    bulk_id     TEXT NOT NULL,
    number      INTEGER NOT NULL,
    -- Index of its first line, and how many it has.
    first       INTEGER NOT NULL,
    lines       INTEGER NOT NULL,
    -- Of its input, then of its output.
    bytes       INTEGER NOT NULL,
    -- JSON: inputs until they are answered, then nothing.
    input       TEXT NOT NULL,
    -- JSON, once they are.
    output      TEXT,
    PRIMARY KEY (tenant_id, bulk_id, number),
    FOREIGN KEY (tenant_id, bulk_id) REFERENCES bulks (tenant_id, id) ON DELETE CASCADE
) STRICT;
