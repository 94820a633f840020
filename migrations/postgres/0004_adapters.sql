-- Adapters, and which of them answered when.

CREATE TABLE adapters (
    tenant_id     TEXT COLLATE "C" NOT NULL,
    task_id       TEXT COLLATE "C" NOT NULL,
    -- 1, 2, 3 … within the task.
    version       BIGINT NOT NULL,
    id            TEXT COLLATE "C" NOT NULL,
    base_model    TEXT    NOT NULL,
    base_sha256   TEXT    NOT NULL,
    support_hash  TEXT    NOT NULL,
    support_count BIGINT NOT NULL,
    -- JSON, the same text for the same recipe.
    recipe        TEXT    NOT NULL,
    -- JSON array, in the order of the outputs.
    labels        TEXT    NOT NULL,
    -- SHA-256 and length of `bytes`: what is read back is compared with both. No CHECK on the length, because a row
    -- that has rotted must stay readable to be recognised.
    sha256        TEXT    NOT NULL,
    size_bytes    BIGINT NOT NULL,
    -- JSON.
    quality       TEXT,
    created_at    BIGINT NOT NULL,
    -- Kept out of line: lists do not read it. Safetensors compress badly, see below.
    bytes         BYTEA    NOT NULL,
    PRIMARY KEY (tenant_id, task_id, version),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
);

-- Finds the adapter that an equal request left.
CREATE INDEX adapters_support ON adapters (tenant_id, task_id, support_hash);

-- A stack for each task: the highest place that is not undone is the active version. Undone places stay as history.
CREATE TABLE promotions (
    tenant_id   TEXT COLLATE "C" NOT NULL,
    task_id     TEXT COLLATE "C" NOT NULL,
    place       BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    promoted_at BIGINT NOT NULL,
    undone_at   BIGINT,
    PRIMARY KEY (tenant_id, task_id, place),
    FOREIGN KEY (tenant_id, task_id, version) REFERENCES adapters (tenant_id, task_id, version) ON DELETE CASCADE
);

-- Floats do not compress: store them as they are instead of trying at each write.
ALTER TABLE adapters ALTER COLUMN bytes SET STORAGE EXTERNAL;
