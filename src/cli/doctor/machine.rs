//! The machine: files that may be open, memory, cores.

use super::Finding;
use crate::config::{EngineConfig, HttpConfig, ServiceConfig};

/// Files that a server has open beside its connections.
const OWN_FILES: usize = 256;
/// Memory of a process before it has done anything, with libtorch in it, in MiB.
const OWN_MIB: u64 = 600;

/// Whether what the settings allow fits.
pub(super) fn limits(http: &HttpConfig, service: &ServiceConfig, engine: &EngineConfig) -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = if engine.workers == 0 { cores } else { engine.workers };
    vec![files(http), memory(http, service, engine, workers as u64), Finding::ok("cores", cores.to_string())]
}

fn files(http: &HttpConfig) -> Finding {
    let needed = http.max_connections + OWN_FILES;
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_whitespace().next()).map(str::parse::<usize>) {
        Some(Ok(most)) if most < needed => Finding::warning(
            "open files",
            format!("{most}, and {} connections need {needed}", http.max_connections),
            format!("raise the limit (`ulimit -n {needed}`, LimitNOFILE=), or lower --max-connections"),
        ),
        Some(Ok(most)) => Finding::ok("open files", format!("{most}, {needed} are needed at most")),
        _ => Finding::ok("open files", "without a limit"),
    }
}

fn memory(http: &HttpConfig, service: &ServiceConfig, engine: &EngineConfig, workers: u64) -> Finding {
    let unfolded = 2 * http.max_bodies_mib as u64;
    let largest = workers * engine.max_command_mib + unfolded;
    let needed = OWN_MIB + service.adapter_cache_mib + engine.embedding_cache_mib;
    let found = format!("{needed} MiB with full caches, and {largest} MiB if all requests are as large as may be");
    let Some(most) = available_mib() else { return Finding::ok("memory", found) };
    let found = format!("{most} MiB to be had; a server takes {found}");
    if most < needed {
        Finding::warning("memory", found, "lower --adapter-cache-mib and --embedding-cache-mib, or give it more")
    } else if most < needed + largest {
        Finding::warning("memory", found, "lower --max-command-mib or --max-bodies-mib where clients are strangers")
    } else {
        Finding::ok("memory", found)
    }
}

/// What the machine has free and this control group allows.
fn available_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let machine = line.split_whitespace().next()?.parse::<u64>().ok()? >> 10;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<u64>().ok()).map(|bytes| bytes >> 20);
    Some(group.map_or(machine, |group| group.min(machine)))
}
