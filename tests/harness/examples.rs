//! The YAML of `examples/`, which is what users copy: tests run what stands there.

use crate::{binaries::workspace, objects};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// The YAML files of a directory under `examples/`, each its name without the ending and its text,
/// in the order of their names.
pub fn files(directory: &str) -> Vec<(String, String)> {
    let directory = workspace().join("examples").join(directory);
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    paths.iter().map(read).collect()
}

/// The README and the pages of `docs/`, each its path from the root and its text.
pub fn pages() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned()];
    for directory in ["docs", "docs/adr"] {
        let entries = fs::read_dir(workspace().join(directory)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let pages = names.filter(|name| name.ends_with(".md"));
        paths.extend(pages.map(|name| format!("{directory}/{name}")));
    }
    paths.sort();
    let read = |path: String| {
        let text = fs::read_to_string(workspace().join(&path)).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The YAML that a page shows, each with the number of the line that it begins at.
pub fn shown(page: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        match line.trim() {
            "```yaml" => {
                inside = true;
                all.push((number + 2, String::new()));
            }
            "```" => inside = false,
            _ if inside => {
                let (_, text) = all.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    all
}

/// The documents of a YAML stream.
pub fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// The first document of a kind.
pub fn of_kind<'d>(documents: &'d [Value], kind: &str) -> &'d Value {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    found.next().expect(kind)
}

/// The documents of `examples/vendors/NAME.yaml`.
pub fn vendor(name: &str) -> Vec<Value> {
    let files = files("vendors");
    let found = files.iter().find(|(file, _)| file == name);
    let (_, text) = found.unwrap_or_else(|| panic!("no examples/vendors/{name}.yaml"));
    documents(text)
}

/// The spec of the connection among them, but for where the vendor is and how one proves to it who
/// one is.
pub fn vendor_connection(name: &str) -> Value {
    let mut spec = of_kind(&vendor(name), "VendorConnection")["spec"].clone();
    objects::merge(&mut spec, json!({"url": null, "auth": null}));
    spec
}
