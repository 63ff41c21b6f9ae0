//! Prometheus' own Python library exposes, the agent scrapes, and the library's own parsers read what the agent says of it.
//!
//! Promises: every sample is compared by name, labels and value, with texts of everything that means something in the formats.
//! Never: waits for more than the next scrape.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::{
    agent::{Agent, Setup},
    wait::until,
};

use crate::{
    SOON,
    program::{Program, lines},
};

/// Values by name and labels, without those that say where it was scraped and when it was born.
fn known(samples: impl IntoIterator<Item = (String, Value, f64)>) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for (name, mut labels, value) in samples {
        let labels = labels.as_object_mut().unwrap();
        labels.remove("instance");
        labels.remove("job");
        if name.starts_with("app_") && !name.ends_with("_created") {
            all.insert(format!("{name}{}", Value::from(labels.clone())), value);
        }
    }
    all
}

#[test]
fn what_a_client_library_exposes_is_told_as_it_was_exposed() {
    let mut app = Program::python("expose_metrics.py", &["--seed", "7"]);
    let address = app.ask("address")["address"].as_str().unwrap().to_owned();
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         metrics: {{inputs: [{{scrape: {{targets: ['{address}'], every: 1s}}}}]}}\n"
    )))
    .unwrap();
    let count = || agent.metrics().sum("app_took_seconds_count", &[]);
    until(SOON, || agent.log(), || count() == 200.0);
    app.ask("count");
    until(SOON, || agent.log(), || count() == 400.0);

    let answer = app.ask("samples");
    let said = answer["samples"].as_array().unwrap();
    let exposed = known(
        said.iter()
            .map(|sample| (sample[0].as_str().unwrap().to_owned(), sample[1].clone(), sample[2].as_f64().unwrap())),
    );
    assert!(exposed.len() > 110, "{}", exposed.len());
    let url = format!("http://{}/metrics", agent.admin());
    let page = lines("parse_metrics.py", &["--url", &url, "--format", "openmetrics"]);
    let told = known(page.iter().map(|sample| {
        (sample["name"].as_str().unwrap().to_owned(), sample["labels"].clone(), sample["value"].as_f64().unwrap())
    }));
    assert_eq!(told, exposed);
    let of_app = |name: &Value| name.as_str().unwrap().starts_with("app_");
    let series = |name: &Value, labels: &Value| {
        format!("{name}{}", Value::from(["text", "kind", "le"].map(|of| labels[of].clone()).to_vec()))
    };
    // The library writes 1.0 where the agent writes 1.
    let like = |exemplar: &Value| (exemplar[0].clone(), exemplar[1].as_f64().unwrap().to_string());
    let exposed = said.iter().filter(|one| !one[3].is_null());
    let exposed: BTreeMap<_, _> = exposed.map(|one| (series(&one[0], &one[1]), like(&one[3]))).collect();
    let told = page.iter().filter(|one| of_app(&one["name"]) && one.get("exemplar").is_some());
    let told: BTreeMap<_, _> = told.map(|one| (series(&one["name"], &one["labels"]), like(&one["exemplar"]))).collect();
    assert!(exposed.len() > 50, "{exposed:?}");
    assert_eq!(told, exposed, "each counter and each bucket leads to the trace that it led to");
    let text = lines("parse_metrics.py", &["--url", &url, "--format", "text"]);
    assert!(text.len() >= page.len() - 10 && text.iter().all(|one| one.get("exemplar").is_none()), "0.0.4 has none");
    assert_eq!(agent.metrics().sum("up", &[("instance", &address)]), 1.0);
    assert_eq!(agent.metrics().sum("pillion_metrics_rejected_total", &[]), 0.0);
    let asked = app.ask("asked");
    let first = &asked["asked"][0];
    assert!(first[0].as_str().unwrap().starts_with("application/openmetrics-text"), "{first}");
    assert_eq!(first[1], "gzip");
    app.end();
    agent.stop(SOON).assert_clean();
}
