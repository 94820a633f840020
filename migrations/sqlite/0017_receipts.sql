-- That something was erased: written in the transaction that erased it, kept for good. It has no foreign key to its tenant,
-- which may be what was erased.
CREATE TABLE receipts (
    tenant_id TEXT NOT NULL,
    id        TEXT NOT NULL,
    -- What was removed, in JSON.
    removed   TEXT   NOT NULL,
    -- What is signed.
    text      TEXT   NOT NULL,
    erased_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX receipts_newest ON receipts (tenant_id, erased_at, id);
