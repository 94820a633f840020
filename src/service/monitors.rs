//! Monitors: what looks at a task's predictions.

use std::time::Duration;

use tokio::time::timeout;
use tracing::{info, warn};

use super::inputs::check_name;
use super::{Answer, Prediction, Result, Service, ServiceError};
use crate::domain::{
    Fault, Invalid, Kind, Monitor, MonitorEvent, MonitorId, MonitorPatch, MonitorRule, Task, TaskId, TenantId,
    USUAL_SHARES, Watch,
};

/// Most monitors of a task.
const MAX_MONITORS: usize = 20;

/// Longest wait of a prediction for the monitors that look at it. A store that is slower misses some.
const LONGEST_LOOK: Duration = Duration::from_millis(250);

/// Bounds of what a rule may say.
const WINDOWS: std::ops::RangeInclusive<usize> = 20..=1_000;
const FALSE_ALARMS: std::ops::RangeInclusive<u32> = 10..=10_000_000;
const LARGEST_RATIO: f64 = 100.0;
/// Odds that change less take thousands of predictions to tell.
const LEAST_CHANGE: f64 = 1.2;

impl Service {
    /// Makes a monitor of a task.
    pub async fn create_monitor(
        &self,
        tenant: TenantId,
        task: TaskId,
        name: Option<String>,
        rule: MonitorRule,
    ) -> Result<Monitor> {
        let task = self.found_task(tenant, task).await?;
        check_rule(&task, &rule)?;
        let name = name.unwrap_or_else(|| rule.label.clone());
        check_name("name", &name, "/name")?;
        let id = MonitorId::fresh(&*self.ids);
        let monitor = Monitor { id, task: task.id, name, rule, watch: Watch::default(), created_at: self.clock.now() };
        let is_made = self.store.create_monitor(tenant, &monitor, MAX_MONITORS).await?;
        if is_made { Ok(monitor) } else { Err(ServiceError::NotFound("task")) }
    }

    /// All monitors of a task, newest first.
    pub async fn list_monitors(&self, tenant: TenantId, task: TaskId) -> Result<Vec<Monitor>> {
        self.found_task(tenant, task).await?;
        Ok(self.store.list_monitors(tenant, task).await?)
    }

    /// A monitor.
    pub async fn find_monitor(&self, tenant: TenantId, id: MonitorId) -> Result<Monitor> {
        self.store.find_monitor(tenant, id).await?.ok_or(ServiceError::NotFound("monitor"))
    }

    /// Changes a monitor. With another rule it begins anew.
    pub async fn update_monitor(&self, tenant: TenantId, id: MonitorId, patch: MonitorPatch) -> Result<Monitor> {
        let Monitor { task, rule, .. } = self.find_monitor(tenant, id).await?;
        if let Some(name) = &patch.name {
            check_name("name", name, "/name")?;
        }
        // Each field is right or wrong by itself, so that what is right here is right in whatever the store has by then.
        check_rule(&self.found_task(tenant, task).await?, &patch.rule(&rule))?;
        let updated = self.store.update_monitor(tenant, id, &patch).await?;
        updated.ok_or(ServiceError::NotFound("monitor"))
    }

    /// Removes a monitor with what it saw.
    pub async fn delete_monitor(&self, tenant: TenantId, id: MonitorId) -> Result<()> {
        let is_gone = self.store.delete_monitor(tenant, id).await?;
        if is_gone { Ok(()) } else { Err(ServiceError::NotFound("monitor")) }
    }

    /// What a monitor saw, newest first, events below number `before`.
    pub async fn monitor_events(
        &self,
        tenant: TenantId,
        id: MonitorId,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<MonitorEvent>> {
        self.find_monitor(tenant, id).await?;
        Ok(self.store.list_monitor_events(tenant, id, before, limit).await?)
    }

    /// Shows predictions to the monitors that look at their task. A prediction is an answer first: what the monitors
    /// miss while the store is away is counted and no more.
    pub(super) async fn show(&self, tenant: TenantId, task: &Task, predictions: &[Prediction]) {
        if !task.is_monitored {
            return;
        }
        let label = |prediction: &Prediction| match &prediction.answer {
            Answer::Label { label, .. } => Some(label.clone()),
            Answer::Value(_) | Answer::Spans { .. } => None,
        };
        let labels: Vec<String> = predictions.iter().filter_map(label).collect();
        match timeout(LONGEST_LOOK, self.store.observe(tenant, task.id, &labels, self.clock.now())).await {
            Ok(Ok(0)) => {}
            Ok(Ok(alerts)) => info!(alerts, task.id = %task.id, "a monitor saw a change"),
            Ok(Err(error)) => missed(labels.len(), &error.to_string()),
            Err(_) => missed(labels.len(), "the store took too long"),
        }
    }
}

fn missed(predictions: usize, reason: &str) {
    metrics::counter!("imprint_predictions_unmonitored_total").increment(predictions as u64);
    warn!(predictions, reason, "monitors may have missed predictions");
}

fn check_rule(task: &Task, rule: &MonitorRule) -> Result<(), Invalid> {
    if task.kind != Kind::Classification {
        return Err(Fault::Inapplicable { because: "a regression has no labels to watch" }.at("/label"));
    }
    if !task.labels.contains(&rule.label) {
        return Err(Fault::UnknownLabel { label: rule.label.clone() }.at("/label"));
    }
    if rule.baseline.is_some_and(|share| !USUAL_SHARES.contains(&share)) {
        return Err(Fault::NoShare { least: *USUAL_SHARES.start(), most: *USUAL_SHARES.end() }.at("/baseline"));
    }
    let size = if rule.ratio > 1.0 { rule.ratio } else { 1.0 / rule.ratio };
    if !(LEAST_CHANGE..=LARGEST_RATIO).contains(&size) {
        return Err(Fault::WrongRatio { least: LEAST_CHANGE, most: LARGEST_RATIO }.at("/ratio"));
    }
    let within = |given: i64, least: i64, most: i64, pointer: &str| {
        if (least..=most).contains(&given) { Ok(()) } else { Err(Fault::OutOfRange { given, least, most }.at(pointer)) }
    };
    let (alarms, window) = (FALSE_ALARMS, WINDOWS);
    let given = rule.false_alarm_every;
    within(given.into(), (*alarms.start()).into(), (*alarms.end()).into(), "/false_alarm_every")?;
    let given = i64::try_from(rule.window).unwrap_or(i64::MAX);
    within(given, *window.start() as i64, *window.end() as i64, "/window")
}
