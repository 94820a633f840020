//! Monitors, and what they saw.

use imprint::domain::{Change, KEPT_ALERTS, Monitor, MonitorId, MonitorPatch, MonitorRule, TaskId, Watch};
use imprint::store::StoreError;

use super::Fixture;

/// Of label `b`, told of after three times of it.
fn monitor(fixture: &Fixture, task: TaskId) -> Monitor {
    let rule =
        MonitorRule { label: "b".to_owned(), baseline: Some(0.1), ratio: 4.0, false_alarm_every: 20, window: 20 };
    let (id, created_at) = (MonitorId::fresh(fixture.ids()), fixture.now());
    Monitor { id, task, name: "surge".to_owned(), rule, watch: Watch::default(), created_at }
}

fn labels(of: &str) -> Vec<String> {
    of.chars().map(String::from).collect()
}

fn called(name: &str) -> MonitorPatch {
    MonitorPatch { name: Some(name.to_owned()), ..MonitorPatch::default() }
}

pub async fn a_monitor_is_shown_predictions_and_keeps_its_alerts(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let monitor = monitor(fixture, task);
    let store = &fixture.store;
    assert!(!store.find_task(tenant, task).await.unwrap().unwrap().is_monitored);
    assert!(store.create_monitor(tenant, &monitor, 1).await.unwrap());
    assert!(store.create_monitor(tenant, &monitor, 1).await.unwrap(), "once");
    assert!(store.find_task(tenant, task).await.unwrap().unwrap().is_monitored);

    assert_eq!(store.observe(tenant, task, &labels("abaa"), fixture.now()).await.unwrap(), 0);
    assert_eq!(store.observe(tenant, task, &labels("bbbbb"), fixture.now()).await.unwrap(), 1);
    assert_eq!(store.observe(tenant, task, &labels(&"a".repeat(30)), fixture.now()).await.unwrap(), 1);

    let events = store.list_monitor_events(tenant, monitor.id, None, 10).await.unwrap();
    let told: Vec<(u32, Change)> = events.iter().map(|event| (event.number, event.alert.change)).collect();
    assert_eq!(told, [(2, Change::Cleared), (1, Change::Raised)]);
    let older = store.list_monitor_events(tenant, monitor.id, Some(2), 10).await.unwrap();
    assert_eq!(older, events[1..]);
    let watched = store.find_monitor(tenant, monitor.id).await.unwrap().unwrap();
    assert_eq!((watched.watch.seen, watched.watch.share()), (39, Some(0.0)));
    assert_eq!(Monitor { watch: Watch::default(), ..watched }, monitor);
}

pub async fn a_monitor_with_another_rule_begins_anew_and_goes_with_its_task(fixture: &Fixture) {
    let (tenant, other) = (fixture.tenant("zoo").await, fixture.tenant("farm").await);
    let task = fixture.task(tenant).await.id;
    let (first, second) = (monitor(fixture, task), monitor(fixture, task));
    let store = &fixture.store;
    assert!(store.create_monitor(tenant, &first, 1).await.unwrap());
    assert!(matches!(store.create_monitor(tenant, &second, 1).await, Err(StoreError::Full { .. })));
    assert!(!store.create_monitor(other, &second, 1).await.unwrap());
    store.observe(tenant, task, &labels("abab"), fixture.now()).await.unwrap();

    let named = store.update_monitor(tenant, first.id, &called("flood")).await.unwrap().unwrap();
    assert_eq!((named.name.as_str(), named.watch.seen), ("flood", 4));
    // Two who both read the monitor before the other's change keep both.
    for patch in [
        MonitorPatch { ratio: Some(2.0), ..MonitorPatch::default() },
        MonitorPatch { window: Some(30), ..MonitorPatch::default() },
    ] {
        store.update_monitor(tenant, first.id, &patch).await.unwrap().unwrap();
    }
    let changed = store.find_monitor(tenant, first.id).await.unwrap().unwrap();
    let rule = MonitorRule { ratio: 2.0, window: 30, ..first.rule.clone() };
    assert_eq!((changed.rule, changed.watch), (rule, Watch::default()));

    assert_eq!(store.update_monitor(other, first.id, &called("mine")).await.unwrap(), None);
    assert!(!store.delete_monitor(other, first.id).await.unwrap());
    assert_eq!(store.find_monitor(other, first.id).await.unwrap(), None);
    assert_eq!(store.observe(other, task, &labels("bbbbbbbb"), fixture.now()).await.unwrap(), 0);
    assert_eq!(store.list_monitors(tenant, task).await.unwrap().len(), 1);
    assert!(store.delete_monitor(tenant, first.id).await.unwrap());
    assert!(!store.find_task(tenant, task).await.unwrap().unwrap().is_monitored);
    assert!(store.create_monitor(tenant, &second, 1).await.unwrap());
    assert!(store.delete_task(tenant, task).await.unwrap());
    assert_eq!(store.find_monitor(tenant, second.id).await.unwrap(), None);
}

pub async fn a_monitor_keeps_its_latest_alerts(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let (monitor, store) = (monitor(fixture, task), &fixture.store);
    assert!(store.create_monitor(tenant, &monitor, 1).await.unwrap());
    let there_and_back = "b".repeat(5) + &"a".repeat(30);

    let alerts = store.observe(tenant, task, &labels(&there_and_back.repeat(502)), fixture.now()).await.unwrap();

    assert!(alerts > 1_000, "{alerts}");
    let kept = store.list_monitor_events(tenant, monitor.id, None, 2_000).await.unwrap();
    let ends = (kept[0].number as usize, kept.len());
    assert_eq!(ends, (alerts, KEPT_ALERTS as usize));
}
