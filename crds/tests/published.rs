//! The YAML beside this crate and the chart's copy are what the types say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use fulfillment_crds::all_crds;
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares a generated file with the committed one; `UPDATE=1` writes it instead.
fn check(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what the types say: run `UPDATE=1 cargo test -p fulfillment-crds` and commit",
        path.display()
    );
}

const HEADER: &str =
    "# Generated from crds/src; `UPDATE=1 cargo test -p fulfillment-crds` rewrites it.\n";

#[test]
fn the_yaml_is_what_the_types_say() {
    for (name, crd) in all_crds() {
        let yaml = format!("{HEADER}{}", serde_yaml::to_string(&crd).unwrap());
        check(&repository().join(format!("crds/{name}.yaml")), &yaml);
    }
}

#[test]
fn the_chart_carries_the_same_crds_and_keeps_them_on_uninstall() {
    for (name, mut crd) in all_crds() {
        crd.metadata
            .annotations
            .get_or_insert_default()
            .insert("helm.sh/resource-policy".into(), "keep".into());
        let yaml = serde_yaml::to_string(&crd).unwrap();
        assert!(
            !yaml.contains("{{"),
            "{name}: Helm would take this for a template"
        );
        check(
            &repository().join(format!(
                "charts/fulfillment-operator-crds/templates/{name}.yaml"
            )),
            &format!("{HEADER}{yaml}"),
        );
    }
}

/// Calls `visit` for every schema with its path.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(
            &format!("{path}{{}}"),
            &schema["additionalProperties"],
            visit,
        );
    }
}

#[test]
fn every_field_is_described_and_bounded() {
    for (name, crd) in all_crds() {
        let crd = serde_json::to_value(&crd).unwrap();
        let version = &crd["spec"]["versions"][0];
        let root = &version["schema"]["openAPIV3Schema"];
        assert_eq!(
            root["properties"]["status"]["default"]["observedGeneration"],
            -1
        );
        assert!(version["subresources"]["status"].is_object());
        for part in ["spec", "status"] {
            walk(part, &root["properties"][part], &mut |path, schema| {
                let at = format!("{name}: {path}: {schema}");
                if !path.ends_with(']') && !path.ends_with('}') {
                    let text = schema["description"].as_str().unwrap_or_default();
                    assert!(!text.is_empty(), "no description: {at}");
                    assert!(
                        !text.contains('`') && !text.split(' ').any(|word| word == "struct"),
                        "not for a YAML author: {at}"
                    );
                }
                match schema["type"].as_str() {
                    Some("string") => assert!(
                        schema["maxLength"].is_u64()
                            || schema["enum"].is_array()
                            || schema["format"] == "date-time",
                        "unbounded: {at}"
                    ),
                    Some("array") => assert!(schema["maxItems"].is_u64(), "unbounded: {at}"),
                    Some("integer") => assert_ne!(schema["format"], "uint32", "{at}"),
                    _ => {}
                }
                if schema["additionalProperties"].is_object() {
                    assert!(schema["maxProperties"].is_u64(), "unbounded: {at}");
                    // What the operator writes it cuts itself.
                    let rules = schema["x-kubernetes-validations"].to_string();
                    let bounded = rules.contains("self.all(name, ");
                    assert!(bounded || part == "status", "unbounded names: {at}");
                }
                assert!(schema["nullable"].is_null(), "nullable: {at}");
            });
        }
    }
}

#[test]
fn names_and_columns_are_the_published_ones() {
    let crd = serde_json::to_value(fulfillment_crds::subscription_crd()).unwrap();
    assert_eq!(
        crd["spec"]["names"]["shortNames"],
        serde_json::json!(["fsub"])
    );
    assert_eq!(
        crd["spec"]["names"]["categories"],
        serde_json::json!(["fulfillment"])
    );
    let columns: Vec<(String, i64)> = crd["spec"]["versions"][0]["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| {
            (
                column["name"].as_str().unwrap().to_uppercase(),
                column["priority"].as_i64().unwrap_or_default(),
            )
        })
        .collect();
    let names = |priority| -> String {
        columns
            .iter()
            .filter(|(_, p)| *p == priority)
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(0), "PRODUCT STATE READY REQUEST OUTCOME REASON AGE");
    assert_eq!(names(1), "TENANT MESSAGE");
}

#[test]
fn the_readme_explains_every_reason() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let table: String = readme
        .lines()
        .skip_while(|line| *line != "| Reason | Cause | Remedy |")
        .take_while(|line| line.starts_with('|'))
        .collect();
    for reason in fulfillment_crds::Reason::ALL {
        assert!(
            table.contains(&format!("`{reason}`")),
            "no row for {reason}"
        );
    }
}

#[test]
fn the_charts_have_the_workspaces_version() {
    for chart in ["fulfillment-operator-crds", "fulfillment-operator"] {
        let path = repository().join(format!("charts/{chart}/Chart.yaml"));
        let chart: Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    }
}
