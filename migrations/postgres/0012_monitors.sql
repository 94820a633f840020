-- What looks at a task's predictions, and what it saw.

-- How many look at it: a task without any costs its predictions nothing.
ALTER TABLE tasks ADD COLUMN monitors BIGINT NOT NULL DEFAULT 0;

CREATE TABLE monitors (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    task_id    TEXT COLLATE "C" NOT NULL,
    name       TEXT NOT NULL,
    -- JSON: what it looks for.
    rule       TEXT NOT NULL,
    -- JSON: what it has seen so far.
    watch      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX monitors_of_task ON monitors (tenant_id, task_id, id);

CREATE TABLE monitor_events (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    monitor_id TEXT COLLATE "C" NOT NULL,
    number     BIGINT NOT NULL,
    -- JSON.
    alert      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, monitor_id, number),
    FOREIGN KEY (tenant_id, monitor_id) REFERENCES monitors (tenant_id, id) ON DELETE CASCADE
);

SELECT imprint_isolate('monitors');
SELECT imprint_isolate('monitor_events');
