//! `check-vendor` passes the healthy vendor in every mode and dialect, and names each defect of one that
//! is not. The real binary against the real vendor; no control plane.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use control_plane::terminate;
use e2e::examples::{documents, files};
use e2e::{
    Vendor,
    binaries::{self, workspace},
    history::Twins,
    poll,
    vendor::{TOKEN, identity_flag},
};
use serde_json::{Value, json};
use std::{
    fs,
    process::{Command, Output, Stdio},
    time::Duration,
};

/// Longer than the reads of a defective vendor lag behind.
const PATIENCE: &str = "--patience=4s";

/// A connection to a vendor, its Secret, and a Subscription with two limits.
fn yaml(url: &str, identity: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: acme}}
stringData: {{token: {TOKEN}}}
---
apiVersion: fulfillment-operator.io/v1alpha1
kind: VendorConnection
metadata: {{name: acme}}
spec:
  url: {url}
  auth: {{bearer: {{secretRef: {{name: acme, key: token}}}}}}
  identity: {{mode: {identity}}}
---
apiVersion: fulfillment-operator.io/v1alpha1
kind: Subscription
metadata: {{name: throw-away}}
spec:
  connectionRef: {{name: acme}}
  product: mail-pro
  limits: {{seats: 5, storageGiB: 10}}
"
    )
}

/// The command, with that for its file.
fn command(yaml: &str, flags: &[&str]) -> (Command, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("connection.yaml");
    fs::write(&file, yaml).unwrap();
    let mut command = Command::new(binaries::operator());
    command
        .args(["check-vendor", "--allow-insecure-vendor-urls", "-f"])
        .arg(file)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    (command, dir)
}

fn run(yaml: &str, flags: &[&str]) -> Output {
    let (mut command, _dir) = command(yaml, flags);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The report in JSON, and the exit code.
fn report(yaml: &str, flags: &[&str]) -> (Value, Option<i32>) {
    let output = run(yaml, &[flags, &["--output=json"]].concat());
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        !stdout.contains(TOKEN) && !stderr.contains(TOKEN),
        "{stdout}"
    );
    let report =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"));
    (report, output.status.code())
}

/// The checks of a report with this verdict.
fn of<'r>(report: &'r Value, verdict: &str) -> Vec<&'r str> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["verdict"] == verdict)
        .map(|check| check["check"].as_str().unwrap())
        .collect()
}

fn message(report: &Value, check: &str) -> String {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let check = checks.find(|found| found["check"] == check).unwrap();
    check["message"].as_str().unwrap().to_owned()
}

/// A vendor that is asked for twins, to see what it makes of it: all else of its log is judged.
fn vendor<S: AsRef<str>>(flags: &[S]) -> Vendor {
    let vendor = Vendor::start_alone(flags);
    vendor.allow_twins(Twins::Accepted);
    vendor
}

/// A defect in a vendor of that mode has these findings and no others, and nothing is left behind.
fn finds(mode: &str, defect: &str, expected: &[&str]) -> (Vendor, Value) {
    let vendor = vendor(&[&identity_flag(mode), &format!("--defect={defect}")]);
    let (report, code) = report(&yaml(vendor.url(), mode), &[PATIENCE]);
    assert_eq!(of(&report, "fail"), expected, "{defect}: {report:#}");
    assert_eq!(code, Some(1), "{defect}");
    assert_eq!(report["conforms"], false, "{defect}");
    (vendor, report)
}

/// The same, where what it made can be deleted.
fn finds_and_cleans(mode: &str, defect: &str, expected: &[&str]) -> Value {
    let (vendor, report) = finds(mode, defect, expected);
    assert_eq!(vendor.count("live"), 0, "{defect}: {report:#}");
    assert_eq!(report["tenants"]["left"], json!([]), "{defect}");
    report
}

#[test]
fn the_healthy_vendor_conforms_in_every_mode() {
    for mode in ["ExternalId", "IdempotencyKey", "Lookup", "None"] {
        let vendor = vendor(&[&identity_flag(mode)]);
        let (report, code) = report(&yaml(vendor.url(), mode), &[]);
        assert_eq!(of(&report, "fail"), [""; 0], "{mode}: {report:#}");
        assert_eq!(code, Some(0), "{mode}: {report:#}");
        assert_eq!(report["identity"]["recommended"], mode);
        assert_eq!(vendor.count("live"), 0);
        assert!(vendor.count("tenants") > 0);
        let relied = match mode {
            "ExternalId" => "external-id",
            "IdempotencyKey" => "idempotency-key",
            "Lookup" => "lookup-complete",
            _ => "change-partial",
        };
        assert!(of(&report, "pass").contains(&relied), "{mode}: {report:#}");
        let safe = ["ExternalId", "IdempotencyKey"].contains(&mode);
        assert_eq!(of(&report, "pass").contains(&"create-at-once"), safe);
    }
}

#[test]
fn the_healthy_vendor_conforms_in_every_dialect_that_is_shipped() {
    let examples = files("vendors");
    assert!(examples.len() >= 5);
    for (dialect, yaml) in examples {
        let token = yaml.split("token: ").nth(1).unwrap();
        let token = token.lines().next().unwrap().to_owned();
        let vendor = vendor(&[format!("--dialect={dialect}"), format!("--token={token}")]);
        let yaml = yaml.replace("http://reference-vendor", vendor.url());
        let (report, code) = report(&yaml, &[]);
        assert_eq!(of(&report, "fail"), [""; 0], "{dialect}: {report:#}");
        assert_eq!(code, Some(0), "{dialect}: {report:#}");
        assert!(!report.to_string().contains(&token));
        let identity = &report["identity"];
        assert_eq!(identity["recommended"], identity["configured"], "{dialect}");
        assert_eq!(vendor.count("live"), 0, "{dialect}");
        for check in [
            "create",
            "change",
            "disable",
            "enable",
            "delete",
            "delete-repeated",
        ] {
            assert!(
                of(&report, "pass").contains(&check),
                "{dialect} {check}: {report:#}"
            );
        }
    }
}

#[test]
fn a_dialect_that_is_half_right_is_told_by_the_answer_to_a_create() {
    // Answers of the bare one say nothing that others do not.
    let told_apart = files("vendors")
        .into_iter()
        .filter(|(name, _)| name != "bare");
    for (dialect, yaml) in told_apart {
        let mut documents = documents(&yaml);
        let token = documents[0]["stringData"]["token"]
            .as_str()
            .unwrap()
            .to_owned();
        let vendor = vendor(&[format!("--dialect={dialect}"), format!("--token={token}")]);
        for document in &mut documents {
            if document["kind"] == "VendorConnection" {
                document["spec"]["url"] = vendor.url().into();
                // Creates are as they should be, and no tenant is found.
                document["spec"]["dialect"]["get"]["path"] = "/nowhere/{id}".into();
            }
        }
        let documents: Vec<String> = documents.iter().map(Value::to_string).collect();
        let (report, code) = report(
            &documents.join("\n---\n"),
            &["--patience=1s", "--decision=2s"],
        );
        assert_eq!(code, Some(1), "{dialect}: {report:#}");
        let told = report["dialect"]["recommended"].as_str().unwrap();
        let expected = match &*dialect {
            "canonical" => "looks canonical".to_owned(),
            other => format!("examples/vendors/{other}.yaml"),
        };
        assert!(told.contains(&expected), "{dialect}: {told}");
    }
}

#[test]
fn an_asynchronous_vendor_is_waited_for() {
    let vendor = vendor(&["--identity=external-id"]);
    let later = json!({"async": {"after": "300ms", "retryAfter": null}});
    vendor.behavior(
        json!({"operations": {"create": later, "change": later, "disable": later,
        "enable": later, "delete": later}}),
    );
    let (report, code) = report(&yaml(vendor.url(), "ExternalId"), &[]);
    assert_eq!(of(&report, "fail"), [""; 0], "{report:#}");
    assert_eq!(code, Some(0), "{report:#}");
    assert!(message(&report, "create").contains("done later"));
    assert_eq!(vendor.count("live"), 0);
}

#[test]
fn a_create_that_is_broken_is_found() {
    let report = finds_and_cleans("ExternalId", "nameless-create", &["create", "external-id"]);
    assert!(message(&report, "create").contains("put its id in the body"));
    let report = finds_and_cleans("ExternalId", "success-as-refusal", &["create"]);
    assert!(
        message(&report, "create").contains("answered 400"),
        "{report:#}"
    );
    // Nothing tells what became of it, so that is what is said.
    let (vendor, report) = finds("None", "success-as-refusal", &["create"]);
    assert_eq!(vendor.count("live"), 1);
    assert_eq!(report["identity"]["recommended"], Value::Null);
}

#[test]
fn what_does_not_make_a_create_safe_to_repeat_is_found() {
    let report = finds_and_cleans("ExternalId", "duplicate-creates", &["external-id"]);
    assert_eq!(report["identity"]["recommended"], "Lookup");
    let report = finds_and_cleans("ExternalId", "nameless-conflict", &["external-id"]);
    assert!(message(&report, "external-id").contains("409 without the tenant"));
    let report = finds_and_cleans("IdempotencyKey", "ignored-key", &["idempotency-key"]);
    assert_eq!(report["identity"]["recommended"], "None");
    assert_eq!(report["tenants"]["made"], 3);
}

#[test]
fn what_is_safe_to_repeat_only_one_after_the_other_is_found() {
    for (mode, recommended) in [("ExternalId", "Lookup"), ("IdempotencyKey", "None")] {
        let report = finds_and_cleans(mode, "racing-creates", &["create-at-once"]);
        let said = message(&report, "create-at-once");
        assert!(said.contains("2 tenants: "), "{said}");
        assert_eq!(report["identity"]["recommended"], recommended, "{mode}");
    }
    // Who does not rely on it is told, and no more.
    let vendor = vendor(&["--defect=racing-creates"]);
    let (report, code) = report(&yaml(vendor.url(), "Lookup"), &[PATIENCE]);
    assert_eq!(code, Some(0), "{report:#}");
    assert!(
        of(&report, "note").contains(&"create-at-once"),
        "{report:#}"
    );
    assert_eq!(vendor.count("live"), 0);
}

#[test]
fn a_lookup_that_misses_tenants_is_found() {
    let late = finds_and_cleans("Lookup", "stale-lookup", &["lookup-fresh", "lookup-gone"]);
    assert!(
        message(&late, "lookup-fresh").starts_with("found only "),
        "{late:#}"
    );
    assert_eq!(late["identity"]["recommended"], "None");
    finds_and_cleans("Lookup", "lookup-of-one", &["lookup-complete"]);
    // Who does not rely on it is told, and no more.
    let vendor = vendor(&["--defect=stale-lookup"]);
    let (report, code) = report(&yaml(vendor.url(), "ExternalId"), &[PATIENCE]);
    assert_eq!(code, Some(0), "{report:#}");
    assert!(of(&report, "note").contains(&"lookup-fresh"), "{report:#}");
}

#[test]
fn a_change_that_is_broken_is_found() {
    finds_and_cleans("ExternalId", "put-ignored", &["change"]);
    finds_and_cleans("ExternalId", "put-adds-up", &["change-repeated"]);
    let report = finds_and_cleans("ExternalId", "put-resets", &["change-partial"]);
    assert!(message(&report, "change-partial").contains("storageGiB is not there"));
    finds_and_cleans("ExternalId", "limits-altered", &["limits", "change"]);
    finds_and_cleans("ExternalId", "limits-as-text", &["limits-form"]);
    finds_and_cleans("ExternalId", "refusal-as-success", &["refusal"]);
}

#[test]
fn a_suspension_that_is_broken_is_found() {
    finds_and_cleans("ExternalId", "disable-ignored", &["disable"]);
    finds_and_cleans("ExternalId", "disable-once", &["disable-repeated"]);
}

#[test]
fn a_delete_that_is_broken_is_found_and_what_it_leaves_is_named() {
    finds_and_cleans("ExternalId", "delete-once", &["delete-repeated"]);
    let (vendor, report) = finds("ExternalId", "delete-ignored", &["delete", "clean-up"]);
    assert_eq!(vendor.count("live"), 1);
    let left = report["tenants"]["left"][0].as_str().unwrap();
    let id = vendor.tenant()["id"].as_str().unwrap().to_owned();
    assert!(left.contains(&id), "{left}");
}

#[test]
fn a_vendor_that_deletes_only_what_is_suspended_needs_the_policy_for_it() {
    let vendor = vendor(&["--identity=none"]);
    vendor.behavior(json!({"deleteOnlySuspended": true}));
    let yaml = yaml(vendor.url(), "None");
    let (without, code) = report(&yaml, &[]);
    assert_eq!(
        (of(&without, "fail"), code),
        (vec!["delete"], Some(1)),
        "{without:#}"
    );
    assert!(message(&without, "delete").contains("policies.suspendBeforeDelete: true"));
    assert_eq!(vendor.count("live"), 0, "{without:#}");
    let policy = "  policies: {suspendBeforeDelete: true}\n  identity:";
    let (with, code) = report(&yaml.replace("  identity:", policy), &[]);
    assert_eq!((of(&with, "fail"), code), (vec![], Some(0)), "{with:#}");
    assert_eq!(vendor.count("live"), 0, "{with:#}");
}

#[test]
fn reads_that_cannot_be_relied_on_are_found() {
    let report = finds_and_cleans("ExternalId", "stale-reads", &["fresh-reads"]);
    assert!(message(&report, "fresh-reads").contains(" s after it was answered"));
    // Gone, but nothing says so.
    for defect in ["unknown-id-found", "unknown-id-fails"] {
        let expected = ["delete", "unknown-id", "clean-up"];
        let (vendor, _) = finds("ExternalId", defect, &expected);
        assert_eq!(vendor.count("live"), 0);
    }
    for defect in ["redirects", "huge-bodies"] {
        let (vendor, _) = finds("ExternalId", defect, &["read", "clean-up"]);
        assert_eq!(vendor.count("live"), 0);
    }
    // A 404 to an id that was never found is no proof that it is gone.
    let (vendor, report) = finds("ExternalId", "mangled-ids", &["read", "clean-up"]);
    assert_eq!(vendor.count("live"), 1);
    let left = report["tenants"]["left"][0].as_str().unwrap();
    assert!(left.contains("t+1001"), "{left}");
}

#[test]
fn answers_that_are_not_as_they_should_be_are_found() {
    finds_and_cleans("ExternalId", "plain-text", &["content-type"]);
    let report = finds_and_cleans("ExternalId", "retry-sometime", &["retry-after"]);
    assert!(message(&report, "retry-after").contains("sometime"));
    finds_and_cleans("ExternalId", "open-door", &["credentials"]);
}

#[test]
fn somebody_elses_tenants_are_not_touched() {
    let vendor = vendor(&[&identity_flag("Lookup")]);
    for name in ["theirs-1", "theirs-2"] {
        vendor.order(&json!({"externalId": name, "product": "mail-pro", "limits": {"seats": 1}}));
    }
    let theirs: Vec<Value> = vendor.live();
    let before = vendor.sequence();
    let (report, code) = report(&yaml(vendor.url(), "Lookup"), &[]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(vendor.live(), theirs);
    for call in vendor.calls_since(before) {
        for tenant in &theirs {
            let path = format!("/tenant/{}", tenant["id"].as_str().unwrap());
            assert_ne!(call.0["path"], path, "{}", call.brief());
        }
    }
}

#[test]
fn a_signal_ends_the_checks_and_what_was_made_is_deleted() {
    let vendor = vendor(&["--identity=external-id"]);
    // Nobody approves the change, so the checks wait for it.
    vendor.behavior(json!({"operations": {"change": {"async": {"after": "manual"}}}}));
    let (mut command, _dir) = command(&yaml(vendor.url(), "ExternalId"), &[]);
    let mut child = command.spawn().unwrap();
    poll(
        "the change is sent",
        Duration::from_secs(60),
        || match vendor.count("change") {
            0 => Err("not yet"),
            _ => Ok(()),
        },
    );
    assert_eq!(vendor.count("live"), 1);
    terminate(&mut child, Duration::from_secs(60)).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("not everything was checked: interrupted"),
        "{said}"
    );
    assert_eq!(vendor.count("live"), 0, "{said}");
}

#[test]
fn a_budget_that_is_too_small_is_said_and_nothing_is_left() {
    let vendor = vendor(&["--identity=external-id"]);
    let (report, code) = report(&yaml(vendor.url(), "ExternalId"), &["--max-calls=6"]);
    assert_eq!(code, Some(1), "{report:#}");
    let ended = report["ended"].as_str().unwrap();
    assert!(ended.contains("--max-calls"), "{ended}");
    assert_eq!(of(&report, "fail"), [""; 0], "{report:#}");
    assert_eq!(vendor.count("live"), 0);
}

#[test]
fn a_vendor_that_is_down_or_shuts_us_out_is_named_for_that() {
    let vendor = vendor(&["--identity=external-id"]);
    let other = yaml(vendor.url(), "ExternalId").replace(TOKEN, "not-the-token");
    let (shut, code) = report(&other, &[]);
    assert_eq!(
        (of(&shut, "fail"), code),
        (vec!["create"], Some(1)),
        "{shut:#}"
    );
    assert!(message(&shut, "create").contains("401"));
    vendor.kill();
    let (down, code) = report(&yaml(vendor.url(), "ExternalId"), &[]);
    assert_eq!(
        (of(&down, "fail"), code),
        (vec!["create"], Some(1)),
        "{down:#}"
    );
    assert!(message(&down, "create").contains("cannot be reached"));
}

#[test]
fn junit_is_well_formed_and_counts_what_failed() {
    let vendor = vendor(&["--defect=disable-once"]);
    let output = run(&yaml(vendor.url(), "ExternalId"), &["--output=junit"]);
    let xml = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{xml}");
    let cases = elements(&xml);
    assert!(
        xml.contains(&format!("tests=\"{cases}\" failures=\"1\"")),
        "{xml}"
    );
    assert_eq!(xml.matches("<failure ").count(), 1, "{xml}");
    assert!(xml.contains("name=\"disable-repeated\"><failure "), "{xml}");
}

/// How many test cases an XML has whose tags are all closed in order.
fn elements(xml: &str) -> usize {
    let mut open: Vec<&str> = Vec::new();
    let mut cases = 0;
    for tag in xml
        .split('<')
        .skip(1)
        .map(|tag| tag.split_once('>').unwrap().0)
    {
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{xml}");
        } else if !tag.starts_with('?') {
            let quotes = tag.matches('"').count();
            assert_eq!(quotes % 2, 0, "{tag}");
            let name = tag.split([' ', '/']).next().unwrap();
            cases += usize::from(name == "testcase");
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "{xml}");
    cases
}

#[test]
fn wrong_input_is_told_by_document_field_and_remedy() {
    let good = yaml("https://vendor.example", "ExternalId");
    let secret = "kind: Secret\nmetadata: {name: acme}";
    let tier = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: fulfillment-operator.io/v1alpha1\nkind: TierConfiguration\nmetadata: {{name: {name}}}\n\
             spec: {{connectionRef: {{name: acme}}, account: {{name: Acme}}, {spec}}}\n"
        )
    };
    let under = |tier2: &str, product: &str| {
        let tiers =
            format!("  tiers: {{tier1: {{tierConfigurationRef: {{name: north}}}}{tier2}}}\n");
        let north = format!("level: 1, product: {product}, parentRef: {{name: top}}");
        let top = tier("top", "level: 2, product: mail-pro");
        [&good, &tiers, &tier("north", &north), &top]
            .map(String::as_str)
            .concat()
    };
    let of_product = |parameter: &str| {
        let products = format!("  products: [{{name: mail-pro, parameters: [{{{parameter}}}]}}]\n");
        good.replace("  identity:", &format!("{products}  identity:"))
    };
    for (bad, hints) in [
        (
            good.replace("  url: https://vendor.example\n", ""),
            &[
                "document 2 (VendorConnection acme)",
                "spec.url is missing",
                "base URL",
            ][..],
        ),
        (
            good.replace("  identity:", "  identty:"),
            &["spec.identty is no field", "identity"],
        ),
        (
            good.replace("  auth: {", "  auth: {basic: {secretRef: {name: acme}}, "),
            &["spec.auth: set exactly one of bearer, basic, apiKey and oauth2"],
        ),
        (
            good.replace("ExternalId", "Luck"),
            &["spec.identity.mode must be one of ExternalId"],
        ),
        (
            good.replace(secret, "kind: Secret\nmetadata: {name: other}"),
            &["Secret acme does not exist", "add it to the file"],
        ),
        (
            good.replace("{token: ", "{tokn: "),
            &["Secret acme has no key token"],
        ),
        (
            good.replace(&format!("{{token: {TOKEN}}}"), "{token: 4711}"),
            &["document 1 (Secret acme)", "stringData.token must be text"],
        ),
        (
            good.replace("https://vendor.example", "ftp://vendor.example"),
            &["spec.url: url is an http or https URL without user"],
        ),
        (
            good.replace("kind: VendorConnection\n", "kind: VendorConection\n"),
            &["there is no VendorConnection", "VendorConection acme"],
        ),
        (
            good.replace("{name: acme}\n  product", "{name: acne}\n  product"),
            &["spec.connectionRef names VendorConnection acne"],
        ),
        (
            good.split("---\napiVersion: fulfillment-operator.io/v1alpha1\nkind: Sub")
                .next()
                .unwrap()
                .to_owned(),
            &["there is nothing to order", "--product"],
        ),
        (
            of_product("name: site, type: email, default: nobody"),
            &["VendorConnection acme: spec.products: product mail-pro: site: default breaks"],
        ),
        (
            of_product("name: reseller_id, scope: tier, required: true"),
            &["reseller_id is required of the reseller", "tiers.tier1"],
        ),
        (
            under("", "other"),
            &["TierConfiguration north is of another product, other: name one of mail-pro"],
        ),
        (
            under(", tier2: {name: Other}", "mail-pro"),
            &["tier1 stands below TierConfiguration top: name that one as tier2"],
        ),
        ("a: [".to_owned(), &["document 1"]),
    ] {
        let output = run(&bad, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for hint in hints {
            assert!(said.contains(hint), "{hint:?} is not in {said}");
        }
        assert!(
            said.contains("connection.yaml: ") && !said.contains(TOKEN),
            "{said}"
        );
        assert_eq!(text(&output.stdout), "", "{said}");
    }
}

#[test]
fn inner_addresses_and_plain_http_take_the_flag_that_the_operator_takes() {
    let (mut command, _dir) = command(&yaml("http://127.0.0.1:1", "None"), &[]);
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let program = command.get_program().to_owned();
    command = Command::new(program);
    let plain = args
        .into_iter()
        .filter(|arg| *arg != "--allow-insecure-vendor-urls");
    let output = command.args(plain).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--allow-insecure-vendor-urls"), "{said}");
}

#[test]
fn the_documentation_s_own_yaml_works_and_names_every_check() {
    let text = fs::read_to_string(workspace().join("docs/check-vendor.md")).unwrap();
    let block = text.split("```yaml\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let vendor = vendor(&["--identity=external-id"]);
    let block = block.replace("http://127.0.0.1:8080", vendor.url());
    let (report, code) = report(&block, &[]);
    assert_eq!(code, Some(0), "{report:#}");
    for check in report["checks"].as_array().unwrap() {
        let check = format!("`{}`", check["check"].as_str().unwrap());
        assert!(text.contains(&check), "{check} is not documented");
    }
}

#[test]
fn every_defect_is_documented() {
    let output = Command::new(binaries::vendor())
        .arg("--help")
        .output()
        .unwrap();
    let help = text(&output.stdout);
    let readme =
        fs::read_to_string(workspace().join("examples/reference-vendor/README.md")).unwrap();
    let defects = help
        .split("Possible values:")
        .find(|part| part.contains("duplicate-creates"));
    let words: Vec<&str> = defects
        .unwrap()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .map_while(|line| line.split_once(':').map(|(word, _)| word))
        .collect();
    assert!(words.len() >= 20, "{words:?}");
    for word in words {
        assert!(
            readme.contains(&format!("`{word}`")),
            "{word} is not documented"
        );
    }
}
