-- Adapters, and which of them answered when.

CREATE TABLE adapters (
    tenant_id     TEXT    NOT NULL,
    task_id       TEXT    NOT NULL,
    -- 1, 2, 3 … within the task.
    version       INTEGER NOT NULL,
    id            TEXT    NOT NULL,
    base_model    TEXT    NOT NULL,
    base_sha256   TEXT    NOT NULL,
    support_hash  TEXT    NOT NULL,
    support_count INTEGER NOT NULL,
    -- JSON, the same text for the same recipe.
    recipe        TEXT    NOT NULL,
    -- JSON array, in the order of the outputs.
    labels        TEXT    NOT NULL,
    -- SHA-256 and length of `bytes`: what is read back is compared with both. No CHECK on the length, because a row
    -- that has rotted must stay readable to be recognised.
    sha256        TEXT    NOT NULL,
    size_bytes    INTEGER NOT NULL,
    -- JSON.
    quality       TEXT,
    created_at    INTEGER NOT NULL,
    -- Last, because SQLite reads a row from its beginning: lists do not pass over it.
    bytes         BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, task_id, version),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- Finds the adapter that an equal request left.
CREATE INDEX adapters_support ON adapters (tenant_id, task_id, support_hash);

-- A stack for each task: the highest place that is not undone is the active version. Undone places stay as history.
CREATE TABLE promotions (
    tenant_id   TEXT    NOT NULL,
    task_id     TEXT    NOT NULL,
    place       INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    promoted_at INTEGER NOT NULL,
    undone_at   INTEGER,
    PRIMARY KEY (tenant_id, task_id, place),
    FOREIGN KEY (tenant_id, task_id, version) REFERENCES adapters (tenant_id, task_id, version) ON DELETE CASCADE
) STRICT;
