-- That something was erased: written in the transaction that erased it, kept for good. It has no foreign key to its tenant,
-- which may be what was erased.
CREATE TABLE receipts (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id        TEXT COLLATE "C" NOT NULL,
    -- What was removed, in JSON.
    removed   TEXT   NOT NULL,
    -- What is signed.
    text      TEXT   NOT NULL,
    erased_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX receipts_newest ON receipts (tenant_id, erased_at, id);

SELECT imprint_isolate('receipts');
