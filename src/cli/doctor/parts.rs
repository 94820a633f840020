//! The parts of a server, each as it would be started.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::Finding;
use crate::cli::sources::tuning_of;
use crate::config::{DeviceSetting, EngineConfig, HttpConfig, ServiceConfig, StoreConfig};
use crate::courier::{Courier, SystemResolver};
use crate::domain::{BaseModel, Clock, SystemClock, SystemIds};
use crate::engine::{Engine, StartError, choose_precision, open_device};
use crate::meta::{bundle, encoder};
use crate::store::{self, StoreError};

/// Letters of a sha256 that are shown.
const SHOWN: usize = 12;
/// How far apart this clock and the database's may be, in milliseconds, before it is worth a word.
const SKEW_MS: i64 = 5_000;

/// The engine itself: every base model adapts and answers alike on every worker; and how fast.
pub(super) async fn computations(config: &EngineConfig) -> Vec<Finding> {
    let advice = "mend what failed above, or take the base model out of the folder";
    let checked = async {
        let engine = Engine::start(config)?;
        engine.check(&SystemIds).await?;
        let mut findings = Vec::new();
        for base in engine.base_models() {
            let name = &base.manifest.name;
            let precision = format!("{:?}", engine.precision(name)).to_lowercase();
            let how = if engine.is_shared(base) {
                format!("{name}: tasks of all tenants together, features in {precision}")
            } else {
                format!("{name}: a task at a time on each worker")
            };
            let pace = engine.pace(base, &SystemIds).await?;
            let pace = pace.map_or_else(String::new, |took| {
                format!("; a small one adapts and answers in {:.1} ms", took.as_secs_f64() * 1e3)
            });
            findings.push(Finding::ok("adaptation", how + &pace));
        }
        engine.drain().await;
        Ok::<_, StartError>(findings)
    };
    checked.await.unwrap_or_else(|error| vec![Finding::failed("adaptation", error.to_string(), advice)])
}

/// libtorch, the device, and what stands on them.
pub(super) fn engine(config: &EngineConfig) -> Vec<Finding> {
    let mut findings = vec![libtorch()];
    let device = match open_device(config.device) {
        Ok((device, workers)) => {
            let workers = if config.workers == 0 { workers } else { config.workers };
            findings.push(match (config.device, device) {
                (DeviceSetting::Auto, Device::Cpu) => Finding::ok(
                    "device",
                    format!("cpu, {workers} workers; no GPU that libtorch can use (scripts/libtorch.sh cuda)"),
                ),
                _ => Finding::ok("device", format!("{device:?}, {workers} workers").to_lowercase()),
            });
            device
        }
        Err(error) => {
            findings.push(Finding::failed("device", error.to_string(), "name another with --device"));
            Device::Cpu
        }
    };
    findings.push(match choose_precision(config.precision, device) {
        Ok(precision) => Finding::ok("precision", format!("shared features in {precision:?}").to_lowercase()),
        Err(error) => Finding::failed("precision", error.to_string(), "name another with --precision"),
    });
    findings.extend(base_models(config, device));
    findings
}

/// The library that is loaded, and whether it computes.
fn libtorch() -> Finding {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let loaded = |name: &str| {
        let mut paths: Vec<&str> = maps
            .lines()
            .filter_map(|line| line.find('/').map(|at| &line[at..]))
            .filter(|path| path.contains(name))
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    };
    let place = loaded("/libtorch_cpu.so").first().map_or_else(|| "linked in".to_owned(), |path| (*path).to_owned());
    let runtimes = loaded("/libgomp");
    let sum = Tensor::f_ones([3, 3], (Kind::Float, Device::Cpu))
        .and_then(|ones| ones.f_matmul(&ones))
        .and_then(|product| product.f_sum(Kind::Double))
        .and_then(|sum| f64::try_from(&sum));
    match sum {
        Ok(27.0) if runtimes.len() <= 1 => Finding::ok("libtorch", place),
        Ok(27.0) => Finding::warning(
            "libtorch",
            format!("{place}, with {} OpenMP runtimes: {}", runtimes.len(), runtimes.join(", ")),
            "threads will be more than cores; start without an LD_LIBRARY_PATH or LD_PRELOAD that brings another libgomp",
        ),
        Ok(other) => Finding::failed("libtorch", format!("{place} says that 27 is {other}"), "run scripts/libtorch.sh"),
        Err(error) => Finding::failed("libtorch", first_line(&error.to_string()), "run scripts/libtorch.sh"),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Each bundle, and the encoder that it stands on.
fn base_models(config: &EngineConfig, device: Device) -> Vec<Finding> {
    let advice = "name the folder of base models with --models";
    let entries = match std::fs::read_dir(&config.models) {
        Ok(entries) => entries,
        Err(error) => {
            return vec![Finding::failed("base models", format!("{}: {error}", config.models.display()), advice)];
        }
    };
    let mut folders: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("manifest.json").is_file())
        .collect();
    folders.sort();
    if folders.is_empty() {
        return vec![Finding::failed("base models", format!("none in {}", config.models.display()), advice)];
    }
    let found = folders.iter().flat_map(|folder| match bundle::load(folder, device) {
        Ok((base, _)) => {
            let manifest = &base.manifest;
            let text = format!("{} {}, sha256 {}", manifest.name, manifest.version, &base.sha256[..SHOWN]);
            [Some(Finding::ok("base model", text)), encoder_of(&base, folder, &config.encoders, device)]
        }
        Err(error) => {
            let advice = "bring the bundle again, or take it out of the folder";
            [Some(Finding::failed("base model", error.to_string(), advice)), None]
        }
    });
    found.flatten().collect()
}

/// The encoder that a base model stands on, as the bundle in `folder` has tuned it.
fn encoder_of(base: &BaseModel, folder: &Path, encoders: &Path, device: Device) -> Option<Finding> {
    let (named, _) = base.manifest.input.encoder()?;
    let advice = "run `imprint models pull`, or name the folder with --encoders";
    let tuning = match tuning_of(base, folder) {
        Ok(tuning) => tuning,
        Err(error) => return Some(Finding::failed("encoder", error.to_string(), "bring the bundle again")),
    };
    Some(match encoder::load_tuned(&encoders.join(&named.name), tuning.as_ref(), device) {
        Ok(loaded) if loaded.reference == *named => {
            let weights = named.sha256.get("model.safetensors").map_or("", |digest| &digest[..SHOWN]);
            Finding::ok("encoder", format!("{}, sha256 {weights}", named.name))
        }
        Ok(_) => Finding::failed(
            "encoder",
            format!("{} has other files than base model {} was trained on", named.name, base.manifest.name),
            advice,
        ),
        Err(error) => Finding::failed("encoder", error.to_string(), advice),
    })
}

/// The database: reachable, of this version, under a role that may serve it, and its clock.
pub(super) async fn store(config: &StoreConfig) -> Vec<Finding> {
    let place = config.shown_url();
    if let Some(path) = config.database_url.strip_prefix("sqlite:").filter(|path| *path != ":memory:") {
        let path = Path::new(path.trim_start_matches("//").split('?').next().unwrap_or_default());
        if !path.exists() {
            return vec![Finding::ok("database", format!("{place}: not there yet; the first start makes it"))];
        }
    }
    let opened = store::open(&StoreConfig { migrate_on_start: false, ..config.clone() }).await;
    let store = match opened {
        Ok(store) => store,
        Err(StoreError::OldSchema(step)) if place.starts_with("sqlite") && config.migrate_on_start => {
            let found = format!("{place}: migration {step} is to come; the next start runs it");
            return vec![Finding::ok("database", found)];
        }
        Err(error) => {
            let advice = match error {
                StoreError::OldSchema(_) | StoreError::Privileged { .. } => {
                    "run `imprint migrate --for-role ROLE` as the owner, and serve as ROLE"
                }
                _ => "name it with --database-url, and see that it runs and lets this role in",
            };
            return vec![Finding::failed("database", format!("{place}: {error}"), advice)];
        }
    };
    let clock = match store.now().await {
        Ok(theirs) => {
            let ahead = SystemClock.now().millis() - theirs.millis();
            let found = format!("{ahead} ms ahead of the database's");
            if ahead.abs() < SKEW_MS {
                Finding::ok("clock", found)
            } else {
                Finding::warning("clock", found, "keep both machines' clocks by NTP: keys end by this one's")
            }
        }
        Err(error) => Finding::failed("clock", error.to_string(), "see that the database answers"),
    };
    vec![Finding::ok("database", format!("{place}: migrated, and the role may serve it")), clock]
}

/// The addresses.
pub(super) fn listener(config: &HttpConfig) -> Vec<Finding> {
    let listen = [Some(config.listen), config.admin_listen].into_iter().flatten();
    let tried = listen.map(|address| match TcpListener::bind(address) {
        Ok(_) => Finding::ok("address", format!("{address} is free")),
        Err(error) => {
            Finding::warning("address", format!("{address}: {error}"), "a server runs there already, or take --listen")
        }
    });
    tried.collect()
}

/// What goes out.
pub(super) fn courier(config: &ServiceConfig) -> Vec<Finding> {
    let webhooks = &config.webhooks;
    vec![match Courier::new(webhooks, Arc::new(SystemResolver)) {
        Ok(_) if webhooks.webhook_reach == crate::config::Reach::Anywhere => Finding::warning(
            "webhooks",
            "reach anywhere, this machine's network included",
            "leave --webhook-reach out where tenants are strangers",
        ),
        Ok(_) => Finding::ok("webhooks", "to public addresses, by https"),
        Err(error) => Finding::failed("webhooks", error.to_string(), "name a PEM file with --webhook-ca"),
    }]
}
