-- A job's place between tenants, given when it is submitted: after the tenant's own last one that waits, and after what
-- was claimed last. A claim takes the lowest, whatever the number that wait.

ALTER TABLE adaptations ADD COLUMN place INTEGER NOT NULL DEFAULT 0;

DROP INDEX adaptations_queued;
CREATE INDEX adaptations_next ON adaptations (place, created_at, id) WHERE status = 'queued';
CREATE INDEX adaptations_last ON adaptations (tenant_id, place) WHERE status = 'queued';
