-- What happened to an adaptation between its submission and its end, in order. Those two are in its row.

CREATE TABLE adaptation_events (
    tenant_id     TEXT COLLATE "C" NOT NULL,
    adaptation_id TEXT COLLATE "C" NOT NULL,
    -- 2, 3, 4 … within the adaptation; 1 is its submission.
    number        BIGINT NOT NULL,
    -- JSON.
    news          TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, adaptation_id, number),
    FOREIGN KEY (tenant_id, adaptation_id) REFERENCES adaptations (tenant_id, id) ON DELETE CASCADE
);
