-- Adaptations: the queue and its history, in one table.

CREATE TABLE adaptations (
    tenant_id   TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    task_id     TEXT    NOT NULL,
    -- JSON.
    recipe      TEXT    NOT NULL,
    promote     INTEGER NOT NULL CHECK (promote IN (0, 1)),
    status      TEXT    NOT NULL,
    -- Counted when the job is claimed, so that one which kills its worker runs out of attempts. It is also the fence:
    -- whoever writes to a running job names the attempt that it holds.
    attempt     INTEGER NOT NULL,
    version     INTEGER,
    -- JSON.
    failure     TEXT,
    worker      TEXT,
    -- On the database's clock.
    lease_until INTEGER,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- Workers know a job by its id alone.
CREATE UNIQUE INDEX adaptations_id ON adaptations (id);

-- What may be claimed. Partial: the history, which only grows, costs a claim nothing.
CREATE INDEX adaptations_queued ON adaptations (created_at, id) WHERE status = 'queued';
CREATE INDEX adaptations_running ON adaptations (lease_until) WHERE status = 'running';

-- The lists, newest first; the second also finds what goes with a deleted task.
CREATE INDEX adaptations_newest ON adaptations (tenant_id, created_at, id);
CREATE INDEX adaptations_task ON adaptations (tenant_id, task_id, created_at, id);
