//! The use cases' settings.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::WebhookConfig;

/// Who may call, and how much.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Asks for no key: whoever reaches the port is one tenant named `default`. Only on an address of this machine alone.
    #[arg(long, env = "IMPRINT_NO_AUTH", value_parser = BoolishValueParser::new())]
    pub no_auth: bool,

    /// Most tasks of one tenant.
    #[arg(long, env = "IMPRINT_MAX_TASKS", default_value_t = 10_000)]
    pub max_tasks: usize,

    /// Requests of one tenant at a time in this process; one more is answered 429. 0 is no limit.
    #[arg(long, env = "IMPRINT_TENANT_REQUESTS", default_value_t = 256)]
    pub tenant_requests: u32,

    /// Requests of one tenant a second in this process, in the long run, ten seconds' worth of them at once; one more is
    /// answered 429. 0 is no limit.
    #[arg(long, env = "IMPRINT_TENANT_REQUESTS_PER_S", default_value_t = 0)]
    pub tenant_requests_per_s: u32,

    /// Adaptations of one tenant that may wait; one more is answered 429.
    #[arg(long, env = "IMPRINT_TENANT_QUEUED_ADAPTATIONS", default_value_t = 1_000)]
    pub tenant_queued_adaptations: usize,

    /// Adaptations of all tenants that may wait; one more is answered 503.
    #[arg(long, env = "IMPRINT_MAX_QUEUED_ADAPTATIONS", default_value_t = 10_000)]
    pub max_queued_adaptations: usize,

    /// Most predictions that a task keeps for feedback; the oldest go first.
    #[arg(long, env = "IMPRINT_MAX_STORED_PREDICTIONS", default_value_t = 10_000)]
    pub max_stored_predictions: usize,

    /// What one tenant may have stored, in MiB: the inputs of its examples and of predictions that are kept, its adapters,
    /// and its bulk predictions. Counted now and then, so that it may come to be a little more. 0 is no limit.
    #[arg(long, env = "IMPRINT_TENANT_STORED_MIB", default_value_t = 10_240)]
    pub tenant_stored_mib: u64,

    /// Time that adaptations of one tenant may take in a day of UTC, in seconds; one more is answered 429 until the day is
    /// over. 0 is no limit.
    #[arg(long, env = "IMPRINT_TENANT_COMPUTE_S_PER_DAY", default_value_t = 0)]
    pub tenant_compute_s_per_day: u64,

    /// Bulk predictions of one tenant that may be under way.
    #[arg(long, env = "IMPRINT_TENANT_BULKS", default_value_t = 100)]
    pub tenant_bulks: usize,

    /// Bytes of one tenant's bulk predictions that are kept, inputs and answers, in MiB.
    #[arg(long, env = "IMPRINT_TENANT_BULK_MIB", default_value_t = 1_024)]
    pub tenant_bulk_mib: u64,

    /// How long the answers of a bulk prediction are kept after its end, in hours.
    #[arg(long, env = "IMPRINT_BULK_HOURS", default_value_t = 72)]
    pub bulk_hours: u64,

    /// Bulk predictions that this process answers at the same time; never more than `--runners`.
    #[arg(long, env = "IMPRINT_BULK_RUNNERS", default_value_t = 1)]
    pub bulk_runners: usize,

    /// Most inner steps that a caller may ask for.
    #[arg(long, env = "IMPRINT_MAX_INNER_STEPS", default_value_t = 50)]
    pub max_inner_steps: u32,

    /// Longest side of an image, in pixels.
    #[arg(long, env = "IMPRINT_MAX_IMAGE_SIDE", default_value_t = 4096)]
    pub max_image_side: u32,

    /// Requests whose inputs are decoded at the same time; 0 takes one for each core.
    #[arg(long, env = "IMPRINT_DECODERS", default_value_t = 0)]
    pub decoders: usize,

    /// Adaptations that this process runs at the same time.
    #[arg(long, env = "IMPRINT_RUNNERS", default_value_t = 4)]
    pub runners: usize,

    /// How long a runner holds a job without a sign of life, in seconds; a sixth of it passes between two signs.
    #[arg(long, env = "IMPRINT_LEASE_S", default_value_t = 30)]
    pub lease_s: u64,

    /// Longest time that one attempt at an adaptation may take, in seconds; one that takes longer has stalled. Tagging has
    /// as long again for every thousand sentences.
    #[arg(long, env = "IMPRINT_ADAPTATION_TIMEOUT_S", default_value_t = 300)]
    pub adaptation_timeout_s: u64,

    /// How often a runner looks for jobs that nobody told it of, in milliseconds.
    #[arg(long, env = "IMPRINT_POLL_MS", default_value_t = 1_000)]
    pub poll_ms: u64,

    /// How long a request with an `Idempotency-Key` is remembered, in hours.
    #[arg(long, env = "IMPRINT_IDEMPOTENCY_HOURS", default_value_t = 24)]
    pub idempotency_hours: u64,

    /// How long the audit log remembers what was done, in days.
    #[arg(long, env = "IMPRINT_AUDIT_DAYS", default_value_t = 365)]
    pub audit_days: u64,

    /// How long what the database said last about keys, tasks and their adapters holds while it is away, in seconds:
    /// predictions whose adapters are in memory go on. 0 is not at all.
    #[arg(long, env = "IMPRINT_LAST_KNOWN_S", default_value_t = 300)]
    pub last_known_s: u64,

    /// Memory for adapters' bytes, in MiB.
    #[arg(long, env = "IMPRINT_ADAPTER_CACHE_MIB", default_value_t = 256)]
    pub adapter_cache_mib: u64,

    /// How messages go out.
    #[command(flatten)]
    pub webhooks: WebhookConfig,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            no_auth: false,
            max_tasks: 10_000,
            tenant_requests: 256,
            tenant_requests_per_s: 0,
            tenant_queued_adaptations: 1_000,
            max_queued_adaptations: 10_000,
            max_stored_predictions: 10_000,
            tenant_stored_mib: 10_240,
            tenant_compute_s_per_day: 0,
            tenant_bulks: 100,
            tenant_bulk_mib: 1_024,
            bulk_hours: 72,
            bulk_runners: 1,
            max_inner_steps: 50,
            max_image_side: 4096,
            decoders: 0,
            runners: 4,
            lease_s: 30,
            adaptation_timeout_s: 300,
            poll_ms: 1_000,
            idempotency_hours: 24,
            audit_days: 365,
            last_known_s: 300,
            adapter_cache_mib: 256,
            webhooks: WebhookConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        service: ServiceConfig,
    }

    #[test]
    fn flag_defaults_equal_the_struct_defaults() {
        assert_eq!(Flags::parse_from(["imprint"]).service, ServiceConfig::default());
    }
}
