-- Each process writes what a tenant had of it on a day, all in all, over what it wrote before: whatever is written again after
-- a lost answer counts once.
ALTER TABLE usage RENAME TO usage_of_all;

CREATE TABLE usage (
    tenant_id   TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- Days since 1970, in UTC.
    day         INTEGER NOT NULL,
    process     TEXT NOT NULL,
    requests    INTEGER NOT NULL,
    predictions INTEGER NOT NULL,
    adaptations INTEGER NOT NULL,
    compute_ms  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day, process)
) STRICT;

INSERT INTO usage (tenant_id, day, process, requests, predictions, adaptations, compute_ms)
SELECT tenant_id, day, '', requests, predictions, adaptations, compute_ms FROM usage_of_all;

DROP TABLE usage_of_all;
