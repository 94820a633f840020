-- The second wall between tenants. Each transaction says whose rows it is about, in `imprint.scope`: a tenant's id, or
-- `keys` (who is somebody?) or `queue` (which job is next?). One that says nothing sees no row and may write none. The
-- role that the server runs as does not own the tables; FORCE binds the owner, too, so that a table is never open.
--
-- Every table with a tenant_id is isolated: the server refuses to start on one that is not.

CREATE FUNCTION imprint_isolate(isolated REGCLASS, seen_by TEXT[] DEFAULT '{}', tenant TEXT DEFAULT 'tenant_id')
RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    condition TEXT := format(
        '%1$I = current_setting(''imprint.scope'', true) OR current_setting(''imprint.scope'', true) = ANY (%2$L::TEXT[])',
        tenant, seen_by
    );
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', isolated);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', isolated);
    EXECUTE format('CREATE POLICY isolation ON %s USING (%s) WITH CHECK (%s)', isolated, condition, condition);
END
$$;

SELECT imprint_isolate('tenants', '{keys,queue}', 'id');
SELECT imprint_isolate('keys', '{keys}');
SELECT imprint_isolate('tasks');
SELECT imprint_isolate('support');
SELECT imprint_isolate('adaptations', '{queue}');
SELECT imprint_isolate('adapters');
SELECT imprint_isolate('promotions');
SELECT imprint_isolate('adaptation_events');
