-- The queue's later rules: when a job that waits may be taken, after which attempt it fails for good, and what is to be
-- told of its end.

-- On the database's clock. A job that was lost a moment ago comes back later.
ALTER TABLE adaptations ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;
-- An operator who puts a failed job back raises it; attempts themselves only count up, since they are the fence.
ALTER TABLE adaptations ADD COLUMN last_attempt INTEGER NOT NULL DEFAULT 3;

-- What operators look through, latest first.
CREATE INDEX adaptations_failed ON adaptations (finished_at, id) WHERE status = 'failed';

-- One row for each end of an adaptation, written in the transaction that ended it: an end is stored and told of, or
-- neither. It names its task and carries no foreign key to it, because a deleted task's adaptations have ended, too.
CREATE TABLE outbox (
    number        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    tenant_id     TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    adaptation_id TEXT    NOT NULL,
    task_id       TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    version       INTEGER,
    -- JSON.
    failure       TEXT,
    ended_at      INTEGER NOT NULL,
    -- Until when nobody else takes it up. On the database's clock.
    taken_until   INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX outbox_tenant ON outbox (tenant_id);
