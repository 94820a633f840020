-- Each process writes what a tenant had of it on a day, all in all, over what it wrote before: whatever is written again after
-- a lost answer counts once.
ALTER TABLE usage ADD COLUMN process TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE usage DROP CONSTRAINT usage_pkey;
ALTER TABLE usage ADD PRIMARY KEY (tenant_id, day, process);
