-- Tasks and their labelled examples.
-- Keys lead with the tenant, and foreign keys carry it: a row can point only at a row of its own tenant.

CREATE TABLE tasks (
    tenant_id      TEXT COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id             TEXT COLLATE "C" NOT NULL,
    name           TEXT   NOT NULL,
    kind           TEXT   NOT NULL,
    base_model     TEXT   NOT NULL,
    -- JSON array. Short, always read whole, and its order is its meaning. Not jsonb, which cannot hold \u0000.
    labels         TEXT   NOT NULL,
    open_labels    BIGINT NOT NULL CHECK (open_labels IN (0, 1)),
    -- JSON object of the caller's.
    metadata       TEXT   NOT NULL,
    active_version BIGINT,
    latest_version BIGINT,
    revision       BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- The list of tasks, newest first.
CREATE INDEX tasks_newest ON tasks (tenant_id, created_at, id);

CREATE TABLE support (
    tenant_id   TEXT COLLATE "C" NOT NULL,
    task_id     TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    -- JSON, as the caller sent it.
    input       TEXT   NOT NULL,
    label       TEXT,
    -- Decimal digits that read back as the same 32 bits. A text, because in this driver a null among floats breaks
    -- the statement.
    value       TEXT,
    external_id TEXT,
    -- SHA-256 of the input's row and the target, in hexadecimal.
    digest      TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, task_id, id),
    -- An example that was sent twice is kept once.
    UNIQUE (tenant_id, task_id, digest),
    UNIQUE (tenant_id, task_id, external_id),
    FOREIGN KEY (tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE,
    -- An input that nobody has labelled has neither.
    CHECK (label IS NULL OR value IS NULL)
);

-- The list of examples, newest first.
CREATE INDEX support_newest ON support (tenant_id, task_id, created_at, id);

-- Counts by label read this index and not the inputs, which can be whole images.
CREATE INDEX support_label ON support (tenant_id, task_id, label);
