//! What README and `docs/` show is what the API server and the operator take, as it stands there.

use e2e::{
    World,
    binaries::workspace,
    examples::{documents, of_kind, pages, shown},
    objects::{self, standing},
};
use serde_json::{Map, Value};

/// Whether it is an object, and not a part of one.
fn is_whole(document: &Value) -> bool {
    document["apiVersion"].is_string()
}

/// Whether it is for another tool, whose definitions are not here.
fn is_foreign(document: &Value) -> bool {
    let version = document["apiVersion"].as_str().unwrap_or_default();
    let (group, _) = version.split_once('/').unwrap_or_default();
    group.contains('.') && !group.ends_with("k8s.io") && group != "fulfillment-operator.io"
}

/// The VendorConnection whose spec a page shows a part of: with the rest as it usually is.
fn completed(world: &World, name: &str, part: &Value) -> String {
    let part = Value::Object(part.as_object().cloned().unwrap_or_else(Map::new));
    let mut whole = documents(&objects::connection(world.vendor.url(), part)).remove(0);
    whole["metadata"]["name"] = name.into();
    whole.to_string()
}

#[test]
fn what_the_pages_show_is_taken_by_the_api_server_and_parts_by_the_operator() {
    let world = World::start();
    let (mut wholes, mut parts) = (0, 0);
    for (page, text) in pages() {
        for (line, yaml) in shown(&text) {
            let documents = documents(&yaml);
            let strictly = |args: &[&str], yaml: &str| {
                let args = [&["apply", "--validate=strict", "-f", "-"], args].concat();
                let output = world.kubectl_with(&args, yaml);
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{page}, line {line}: {error}");
            };
            if documents.iter().all(is_foreign) {
                continue;
            }
            if documents.iter().all(is_whole) {
                wholes += 1;
                strictly(&["--dry-run=server"], &yaml);
                continue;
            }
            parts += 1;
            let name = format!("part-{parts}");
            assert_eq!(documents.len(), 1, "{page}, line {line}");
            strictly(&[], &completed(&world, &name, &documents[0]));
            let judged = world.until("it is judged", "VendorConnection", &name, |connection| {
                objects::is_observed(connection)
            });
            let ready = standing(&judged, "Ready");
            assert_eq!(ready, "True Configured", "{page}, line {line}: {judged:#}");
        }
    }
    assert!(wholes >= 3 && parts >= 1, "{wholes} wholes, {parts} parts");
}

#[test]
fn the_subscription_that_the_readme_begins_with_becomes_ready() {
    let world = World::start();
    let pages = pages();
    let (_, readme) = pages
        .iter()
        .find(|(path, _)| path == "README.md")
        .expect("a README");
    let (_, yaml) = shown(readme).remove(0);
    world.apply(&yaml);
    let documents = documents(&yaml);
    let subscription = of_kind(&documents, "Subscription");
    let name = subscription["metadata"]["name"].as_str().expect("a name");
    world.ready(name);
    let limits = &world.vendor.tenant()["limits"];
    assert_eq!(limits, &subscription["spec"]["limits"]);
    // And kubectl shows what the README says that it shows, but for the age.
    let columns = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().map(str::trim).take(2);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        let mut rows: Vec<Vec<String>> = lines.map(words).collect();
        rows.iter_mut().skip(1).for_each(|row| drop(row.pop()));
        rows
    };
    let (_, promised) = readme.split_once("$ kubectl get fsub\n").expect("a table");
    assert_eq!(columns(promised), columns(&world.kubectl(&["get", "fsub"])));
}

#[test]
fn what_the_pages_name_is_there() {
    let mut named = 0;
    for (page, text) in pages() {
        let directory = workspace().join(&page);
        let directory = directory.parent().expect("a directory");
        // What is linked stands beside the page, what is named in the text at the root.
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        let links = links
            .map(|(link, _)| link)
            .filter(|link| !link.contains("://"));
        for link in links {
            let path = link.split('#').next().unwrap_or_default();
            assert!(directory.join(path).exists(), "{page}: {link}");
            named += 1;
        }
        let words = text.split(|c: char| c.is_whitespace() || "`()[],;*".contains(c));
        for word in words.filter(|word| word.starts_with("examples/") && word.ends_with(".yaml")) {
            assert!(workspace().join(word).is_file(), "{page}: {word}");
            named += 1;
        }
    }
    assert!(named >= 15, "only {named}");
}
