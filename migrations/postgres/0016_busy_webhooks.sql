-- Deliveries in the order in which they are looked through, and attempts that only count up.

-- Attempts that an earlier round of a delivery had: who sends one again gives it fresh ones, and no number comes twice,
-- since attempts are the fence.
ALTER TABLE deliveries ADD COLUMN spent BIGINT NOT NULL DEFAULT 0;

-- What a tenant has under way.
CREATE INDEX deliveries_taken ON deliveries (tenant_id, taken_until, webhook_id) WHERE status = 'pending';
-- What ended long ago, and what was delivered lately.
CREATE INDEX deliveries_finished ON deliveries (tenant_id, finished_at) WHERE finished_at IS NOT NULL;
