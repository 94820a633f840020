//! Ranking: signals in, an order out.

use serde_json::{Value, json};

use super::app::TestApp;

fn support() -> Value {
    json!([
        {"input": {"text": "mmm nnn", "features": [1, 0]}, "value": 1},
        {"input": {"text": "mmm mnm", "prior": -1.5, "features": [1]}, "value": 1, "weight": 2, "time": "2026-01-02T03:04:05Z"},
        {"input": {"text": "qqq zzz", "features": [0, 1]}, "value": -1}
    ])
}

async fn task(app: &TestApp, settings: Value) -> String {
    let body = json!({"name": "Ann", "base_model": "taste", "settings": settings, "support": support()});
    let task = app.post("/v1/tasks", body).await.ok(201);
    assert_eq!((&task["kind"], &task["support_count"], &task["labels"]), (&json!("ranking"), &json!(3), &json!([])));
    format!("/v1/tasks/{}", task["id"].as_str().unwrap())
}

fn candidates() -> Value {
    json!([
        {"id": "no", "input": {"text": "qqq qqz", "features": [0, 1]}},
        {"input": "hh"},
        {"id": "yes", "input": {"text": "mmm nnm", "features": [1, 0]}},
        {"id": "other", "input": {"text": "hh", "features": [0.5]}}
    ])
}

async fn order(app: &TestApp, task: &str) -> Vec<u64> {
    let ranked = app.post(&format!("{task}/rank"), json!({"candidates": candidates()})).await.ok(200);
    ranked["results"].as_array().unwrap().iter().map(|result| result["index"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_come_in_the_order_that_the_signals_say() {
    let app = TestApp::start().await;
    let task = task(&app, json!({})).await;
    app.adapt(&task).await;

    let body = json!({"candidates": candidates(), "top_n": 3, "nearest": 1});
    let ranked = app.post(&format!("{task}/rank"), body).await.ok(200);

    let results = ranked["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["id"], &results[0]["index"]), (3, &json!("yes"), &json!(2)));
    assert_eq!(results[0]["nearest"][0]["value"], json!(1.0), "{ranked}");
    let scores: Vec<f64> = results.iter().map(|result| result["relevance_score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|one, other| one >= other), "{ranked}");
    assert_eq!(order(&app, &task).await.last(), Some(&0), "what is disliked comes last");
    assert_eq!(ranked["version"], json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_with_new_signals_changes_the_order() {
    let app = TestApp::start().await;
    let task = task(&app, json!({"auto_adapt": true})).await;
    app.adapt(&task).await;
    let before = order(&app, &task).await;

    let more = json!({"examples": [
        {"input": {"text": "qqq qzq", "features": [0, 1]}, "value": 1, "weight": 9},
        {"input": {"text": "mmm mmm", "features": [1, 0]}, "value": -1, "weight": 9}
    ]});
    let added =
        app.call("POST", &format!("{task}/support")).header("prefer", "wait=20").json(&more).send().await.ok(200);

    assert_eq!((&added["added"], &added["adaptation"]["status"]), (&json!(2), &json!("succeeded")), "{added}");
    assert_eq!(added["adaptation"]["version"], json!(2));
    let after = order(&app, &task).await;
    let place = |order: &[u64], index| order.iter().position(|own| *own == index);
    assert!(place(&before, 2) < place(&before, 0) && place(&after, 0) < place(&after, 2), "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_kept_as_it_was_sent_and_can_be_changed() {
    let app = TestApp::start().await;
    let task = task(&app, json!({"half_life_days": 30})).await;

    let listed = app.get(&format!("{task}/support")).await.ok(200);
    let signal = listed["data"].as_array().unwrap().iter().find(|row| row["weight"] == json!(2.0)).unwrap().clone();
    assert_eq!((&signal["value"], &signal["time"]), (&json!(1.0), &json!("2026-01-02T03:04:05Z")));
    assert_eq!(signal["input"], json!({"text": "mmm mnm", "prior": -1.5, "features": [1.0]}));
    assert_eq!(app.get(&task).await.ok(200)["settings"]["half_life_days"], json!(30));

    let place = format!("{task}/support/{}", signal["id"].as_str().unwrap());
    let changed = app.call("PATCH", &place).json(&json!({"value": -0.5})).send().await.ok(200);
    let kept = (&changed["value"], &changed["weight"], &changed["time"]);
    assert_eq!(kept, (&json!(-0.5), &json!(2.0), &json!("2026-01-02T03:04:05Z")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_signal_fades_where_the_task_says_so() {
    let app = TestApp::start().await;
    let fading = |half_life_days: Option<u32>| {
        let settings = half_life_days.map_or(json!({}), |days| json!({"half_life_days": days}));
        let support = json!([
            {"input": {"text": "mmm nnn", "features": [1, 0]}, "value": 1, "time": "2020-01-01T00:00:00Z"},
            {"input": {"text": "qqq zzz", "features": [0, 1]}, "value": 1, "time": "2026-01-01T00:00:00Z"}
        ]);
        json!({"name": "Bob", "base_model": "taste", "settings": settings, "support": support})
    };
    let mut gaps = Vec::new();
    for half_life in [None, Some(30)] {
        let task = app.post("/v1/tasks", fading(half_life)).await.header("location").to_owned();
        app.adapt(&task).await;
        let ranked = app.post(&format!("{task}/rank"), json!({"candidates": candidates()})).await.ok(200);
        let score = |index: u64| {
            let results = ranked["results"].as_array().unwrap();
            results.iter().find(|result| result["index"] == index).unwrap()["relevance_score"].as_f64().unwrap()
        };
        gaps.push(score(2) - score(0));
    }
    assert!(gaps[1] < gaps[0] - 0.05, "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn evaluate_and_quality_judge_the_order() {
    let app = TestApp::start().await;
    let task = task(&app, json!({})).await;
    app.adapt(&task).await;

    let examples = json!([{"input": {"text": "qqq qqz", "features": [0, 1]}, "value": -1}, {"input": {"text": "mmm nnm", "features": [1]}, "value": 1}]);
    let judged = app.post(&format!("{task}/evaluate"), json!({"examples": examples})).await.ok(200);
    assert_eq!((&judged["ndcg_at_10"], &judged["pairs_in_order"]), (&json!(1.0), &json!(1.0)), "{judged}");
    let quality = app.get(&format!("{task}/adapters/1")).await.ok(200)["quality"].clone();
    assert_eq!((&quality["method"], &quality["n"]), (&json!("leave_one_out"), &json!(3)), "{quality}");
    assert!((0.0..=1.0).contains(&quality["pairs_in_order"].as_f64().unwrap()), "{quality}");
    let verified = app.post(&format!("{task}/adapters/1/verify"), json!({})).await.ok(200);
    assert_eq!(verified["matches"], json!(true), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_ranked_is_refused() {
    let app = TestApp::start().await;
    let task = task(&app, json!({})).await;
    let rank = format!("{task}/rank");
    let one = json!({"candidates": [{"input": "hh"}]});

    app.post(&rank, one.clone()).await.problem(409, "not_adapted");
    app.adapt(&task).await;
    let wrong = [
        (json!({"candidates": []}), "/candidates"),
        (json!({"candidates": [{"input": "hh"}, {"input": " "}]}), "/candidates/1/input"),
        (json!({"candidates": [{"input": "hh"}], "top_n": 0}), "/top_n"),
        (json!({"candidates": [{"input": "hh"}], "nearest": 21}), "/nearest"),
        (json!({"candidates": [{"input": "hh", "id": "x".repeat(129)}]}), "/candidates/0/id"),
    ];
    for (body, pointer) in wrong {
        let problem = app.post(&rank, body).await.problem(422, "invalid_values");
        assert_eq!(problem["errors"][0]["pointer"], json!(pointer), "{problem}");
    }
    let labels = json!({"name": "words", "base_model": "words", "support": [
        {"input": "a", "label": "x"}, {"input": "b", "label": "y"}
    ]});
    let other = app.post("/v1/tasks", labels).await.header("location").to_owned();
    app.adapt(&other).await;
    app.post(&format!("{other}/rank"), one).await.problem(409, "wrong_kind");
}
