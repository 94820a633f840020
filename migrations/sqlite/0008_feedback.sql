-- What tasks do by themselves, what becomes of an adaptation's adapter, and predictions that are kept for feedback.

-- JSON.
ALTER TABLE tasks ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';

-- `always`, `if_better` or `never`. Where `promote` is 0 it is `never`, whatever stands here: a server of an older
-- version writes only that.
ALTER TABLE adaptations ADD COLUMN promotion TEXT NOT NULL DEFAULT 'always';

CREATE TABLE predictions (
    tenant_id  TEXT    NOT NULL,
    task_id    TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    -- JSON, as the caller sent it.
    input      TEXT    NOT NULL,
    -- JSON.
    answer     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, task_id, id),
    FOREIGN KEY (tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- The newest are kept.
CREATE INDEX predictions_newest ON predictions (tenant_id, task_id, created_at, id);
