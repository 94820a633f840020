//! What seqeval and scikit-learn say of the same tags: `tests/golden/tags.json`, made by `tests/golden/tags.py`.

use imprint::domain::{ReportLine, ReportTable, TagCounts};
use serde_json::Value;

fn number(tag: &Value, labels: &[String]) -> u32 {
    let tag = tag.as_str().unwrap();
    let Some((prefix, label)) = tag.split_once('-') else { return 0 };
    let label = labels.iter().position(|own| own == label).unwrap();
    u32::try_from(1 + 2 * label + usize::from(prefix == "I")).unwrap()
}

fn compare(what: &str, table: &ReportTable, expected: &Value) {
    let means = [&table.micro, &table.macro_mean, &table.weighted];
    let lines: Vec<&ReportLine> = table.lines.iter().chain(means).collect();
    assert_eq!(lines.len(), expected.as_object().unwrap().len(), "{what}");
    for line in lines {
        let numbers = expected[&line.name].as_array().unwrap_or_else(|| panic!("{what}: no {}", line.name));
        let own = [line.precision, line.recall, line.f1];
        for (own, expected) in own.iter().zip(numbers) {
            let expected = expected.as_f64().unwrap();
            assert!((own - expected).abs() < 1e-12, "{what}, {}: {own} and {expected}", line.name);
        }
        assert_eq!(Some(line.support as u64), numbers[3].as_u64(), "{what}, {}", line.name);
    }
}

#[test]
fn reports_are_those_of_seqeval_and_scikit_learn() {
    let golden: Value = serde_json::from_str(include_str!("../golden/tags.json")).unwrap();
    let labels: Vec<String> = serde_json::from_value(golden["labels"].clone()).unwrap();
    let mut counts = TagCounts::default();
    let rows = |name: &str| golden[name].as_array().unwrap().clone();
    for (truth, answered) in rows("truth").iter().zip(rows("answered")) {
        let numbers =
            |tags: &Value| tags.as_array().unwrap().iter().map(|tag| number(tag, &labels)).collect::<Vec<_>>();
        counts.add(&numbers(truth), &numbers(&answered));
    }

    let report = counts.report(&labels);

    compare("spans", &report.entities, &golden["entities"]);
    compare("words", &report.tokens, &golden["tokens"]);
    compare("words in spans", &report.tokens_in_spans, &golden["tokens_in_spans"]);
}
