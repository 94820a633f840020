-- Where in whose trace a thing was asked for, as a W3C `traceparent`; none of what nobody asked for.
ALTER TABLE adaptations ADD COLUMN traceparent TEXT;
ALTER TABLE outbox ADD COLUMN traceparent TEXT;
ALTER TABLE deliveries ADD COLUMN traceparent TEXT;
