-- SQLite has no row level security: here every statement's own `tenant_id = …` is the wall, and a model in the tests
-- checks it.
SELECT 1;
