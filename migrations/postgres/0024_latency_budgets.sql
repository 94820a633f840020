-- How long it may take from a request to its adapter, in milliseconds; none where nobody said.
ALTER TABLE adaptations ADD COLUMN latency_budget_ms BIGINT;
