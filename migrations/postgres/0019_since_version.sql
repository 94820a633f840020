-- Which adapters an example may be part of, without asking a clock.

-- The task's latest version when the example came: adapters up to this one were made without it. Of examples that were
-- there before this migration nobody knows: 0 is on the safe side.
ALTER TABLE support ADD COLUMN since_version BIGINT NOT NULL DEFAULT 0;

-- The lowest `since_version` of all examples that were removed. One that comes again may be part of what was made in its
-- first life, and nothing is kept by which it could be known again: so any that comes is taken for it.
ALTER TABLE tasks ADD COLUMN departed_since BIGINT;
