//! Every example works as it stands, and every one that is invalid is refused in the words that its
//! first line promises.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

use crate::callbacks::has_it;
use e2e::{
    Vendor, World,
    examples::{documents, files, of_kind},
    free_port,
    objects::standing,
    vendor::operations,
};
use serde_json::{Value, json};
use std::fs;

/// What the examples' connections point at, until a test puts a vendor there.
const PLACEHOLDER: &str = "://reference-vendor\n";

/// The kind of connection that is for several namespaces.
const CLUSTER: &str = "ClusterVendorConnection";

/// A key of a Secret among the documents.
fn secret(documents: &[Value], name: &Value, key: &str) -> String {
    let mut secrets = documents
        .iter()
        .filter(|document| document["kind"] == "Secret" && document["metadata"]["name"] == *name);
    let secret = secrets.next().expect("no such Secret");
    secret["stringData"][key].as_str().unwrap().to_owned()
}

/// The vendor that an example needs: with the credentials that its own Secret holds.
fn behind(world: &World, documents: &[Value], dialect: Option<String>) -> Vendor {
    let spec = &documents
        .iter()
        .find(|document| document["spec"]["url"].is_string())
        .expect("a connection")["spec"];
    let auth = &spec["auth"];
    let mut args: Vec<String> = dialect.into_iter().collect();
    if let Some(reference) = spec["tls"].get("clientCertificateRef") {
        let part = |key| secret(documents, &reference["name"], key);
        return asking_for(world, &part("tls.crt"), &part("tls.key"));
    }
    if let Some(bearer) = auth.get("bearer") {
        let key = bearer["secretRef"]["key"].as_str().unwrap();
        let token = secret(documents, &bearer["secretRef"]["name"], key);
        if spec["url"].as_str().unwrap().starts_with("https:") {
            let token = format!("--token={token}");
            return Vendor::start_tls(world.control_plane(), &[token], None);
        }
        args.push(format!("--token={token}"));
    } else if let Some(basic) = auth.get("basic") {
        let name = &basic["secretRef"]["name"];
        let user = secret(documents, name, "username");
        let password = secret(documents, name, "password");
        args.push(format!("--basic={user}:{password}"));
    } else if let Some(oauth2) = auth.get("oauth2") {
        let reference = &oauth2["clientSecretRef"];
        let key = reference["key"].as_str().unwrap();
        let secret = secret(documents, &reference["name"], key);
        let client = oauth2["clientId"].as_str().unwrap();
        args.push(format!("--oauth2={client}:{secret}"));
    } else {
        let api_key = &auth["apiKey"];
        let key = api_key["secretRef"]["key"].as_str().unwrap();
        let key = secret(documents, &api_key["secretRef"]["name"], key);
        let header = api_key["header"].as_str().unwrap();
        args.push(format!("--api-key={header}={key}"));
    }
    if let Some(mode) = spec["identity"]["mode"].as_str() {
        args.push(e2e::vendor::identity_flag(mode));
    }
    if let Some(key) = spec["callback"]["secretRef"]["key"].as_str() {
        let key = secret(documents, &spec["callback"]["secretRef"]["name"], key);
        args.push(format!("--callback-secret={key}"));
    }
    Vendor::start(&args)
}

/// A vendor that asks its clients for this certificate, which nobody but itself has signed.
fn asking_for(world: &World, certificate: &str, key: &str) -> Vendor {
    let name = format!("{}.example.crt", world.namespace());
    let file = world.control_plane().dir().join(name);
    fs::write(&file, certificate).unwrap();
    let flag = format!("--tls-client-ca={}", file.display());
    let identity = format!("{certificate}\n{key}");
    Vendor::start_tls(world.control_plane(), &[flag], Some(&identity))
}

/// The text with the vendor's address in it, and with its authority's certificate.
fn pointed_at(text: &str, url: &str, ca_pem: &str) -> String {
    assert_eq!(text.matches(PLACEHOLDER).count(), 1, "{text}");
    let (before, after) = text.split_once(PLACEHOLDER).unwrap();
    let scheme = before.rsplit(' ').next().unwrap();
    let before = before.strip_suffix(scheme).unwrap();
    // The token endpoint is the same vendor's.
    let token_url = format!("{scheme}://reference-vendor/");
    let pointed = format!("{before}{url}\n{after}").replace(&token_url, &format!("{url}/"));
    let Some(bundle) = pointed.find("caBundle:") else {
        return pointed;
    };
    let start = bundle + pointed[bundle..].find("-----BEGIN").unwrap();
    let line = pointed[..start].rfind('\n').unwrap() + 1;
    let indent = &pointed[line..start];
    let last = "-----END CERTIFICATE-----\n";
    let end = start + pointed[start..].find(last).unwrap() + last.len();
    let certificate: String = ca_pem
        .lines()
        .map(|line| format!("{indent}{line}\n"))
        .collect();
    format!("{}{certificate}{}", &pointed[..line], &pointed[end..])
}

fn strictly(world: &World, yaml: &str) -> Result<String, String> {
    let output = world.kubectl_with(&["apply", "--validate=strict", "-f", "-"], yaml);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

/// How many resellers have a tenant of their own.
fn resellers(yaml: &str) -> u64 {
    let documents = documents(yaml);
    let own = of_kind(&documents, "VendorConnection")["spec"]["dialect"]["tierTenants"] == true;
    let tiers = documents
        .iter()
        .filter(|d| own && d["kind"] == "TierConfiguration");
    tiers.count() as u64
}

#[test]
fn every_example_becomes_ready_as_it_stands_and_goes_with_kubectl_delete() {
    let world = World::start();
    let mut applied = Vec::new();
    let vendors = files("vendors").into_iter();
    let vendors = vendors.map(|(name, text)| (Some(format!("--dialect={name}")), name, text));
    let files = files("").into_iter();
    let files = files.map(|(name, text)| (None, name, text));
    for (dialect, name, text) in files.chain(vendors) {
        assert!(text.starts_with("# "), "{name} does not say what it shows");
        let documents = documents(&text);
        if documents.iter().any(|document| document["kind"] == CLUSTER) {
            // It takes an operator that watches all namespaces: below.
            continue;
        }
        let vendor = behind(&world, &documents, dialect);
        let yaml = pointed_at(&text, vendor.url(), world.control_plane().ca_pem());
        strictly(&world, &yaml).unwrap_or_else(|error| panic!("{name}: {error}"));
        let subscription = of_kind(&documents, "Subscription").clone();
        applied.push((name, yaml, subscription, vendor));
    }
    let names: Vec<&str> = applied.iter().map(|(name, ..)| name.as_str()).collect();
    for expected in [
        "api-key",
        "basic-auth",
        "client-certificate",
        "custom-ca",
        "limits-and-parameters",
        "mode-none",
        "oauth2",
        "quickstart",
        "retain",
        "suspended",
    ] {
        assert!(names.contains(&expected), "no example {expected}");
    }
    for (name, yaml, subscription, vendor) in &applied {
        let object = world.ready(subscription["metadata"]["name"].as_str().unwrap());
        let state = subscription["spec"]["state"].as_str().unwrap_or("Active");
        assert_eq!(
            standing(&object, "Ready"),
            format!("True {state}"),
            "{name}"
        );
        assert_eq!(vendor.count("live"), 1 + resellers(yaml), "{name}");
        if let Some(output) = subscription["spec"]["outputSecretName"].as_str() {
            let secret = world.get("Secret", output);
            assert!(secret["data"]["initial_password"].is_string(), "{name}");
        }
    }
    everything_was_sent(&applied);

    for (name, yaml, subscription, vendor) in &applied {
        let args = ["delete", "--timeout=60s", "-f", "-"];
        let output = world.kubectl_with(&args, yaml);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {error}");
        let retained = subscription["spec"]["deletionPolicy"] == "Retain";
        assert_eq!(vendor.count("live"), u64::from(retained), "{name}");
    }
    let retained = world.event("adatum-archive", "TenantRetained");
    assert!(retained.contains("t-1001"), "{retained}");

    // As its comment says: applied again it finds the same tenant.
    let (_, yaml, subscription, vendor) =
        applied.iter().find(|(name, ..)| name == "retain").unwrap();
    strictly(&world, yaml).unwrap();
    world.ready(subscription["metadata"]["name"].as_str().unwrap());
    assert_eq!(vendor.count("tenants"), 1);
}

#[test]
fn the_example_with_callbacks_needs_no_poll() {
    let address = format!("127.0.0.1:{}", free_port());
    let world = World::builder()
        .operator_arg(&format!("--callback-addr={address}"))
        .operator_arg(&format!("--callback-url=http://{address}"))
        .start();
    let all = files("");
    let (_, text) = all.iter().find(|(file, _)| file == "callback").unwrap();
    let documents = documents(text);
    let vendor = behind(&world, &documents, None);
    let by_hand = json!({"async": {"after": "manual", "retryAfter": "0s"}});
    vendor.behavior(json!({"operations": {"create": by_hand}}));
    let yaml = pointed_at(text, vendor.url(), world.control_plane().ca_pem());
    strictly(&world, &yaml).unwrap();
    let name = of_kind(&documents, "Subscription")["metadata"]["name"]
        .as_str()
        .unwrap();
    let pending = has_it(&world, name);
    assert_eq!(operations(&vendor.calls()), ["create"]);
    vendor.approve(pending["status"]["tenantId"].as_str().unwrap());
    // Its connection is polled every five minutes.
    let ready = world.ready(name);
    assert!(ready["metadata"]["annotations"]["fulfillment-operator.io/called-back"].is_string());
}

#[test]
fn the_example_for_several_namespaces_works_as_it_stands() {
    let name = "cluster-connection";
    let all = files("");
    let (_, text) = all.iter().find(|(file, _)| file == name).expect(name);
    assert!(text.starts_with("# "), "{name} does not say what it shows");
    let documents = documents(text);
    let place = |kind: &str| {
        let namespace = &of_kind(&documents, kind)["metadata"]["namespace"];
        namespace.as_str().expect("a namespace").to_owned()
    };
    let world = World::builder()
        .cluster_wide()
        .operator_arg(&format!("--cluster-resource-namespace={}", place("Secret")))
        .start();
    let vendor = behind(&world, &documents, None);
    let yaml = pointed_at(text, vendor.url(), world.control_plane().ca_pem());
    let run = |verb: &str| {
        // Into the namespaces that the file names.
        let output = world.kubectl_anywhere(&[verb, "-f", "-"], &yaml);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{verb}: {error}");
    };
    for namespace in [place("Secret"), place("Subscription")] {
        world.kubectl(&["create", "namespace", &namespace]);
    }
    run("apply");
    let subscription = of_kind(&documents, "Subscription")["metadata"]["name"]
        .as_str()
        .unwrap();
    world.eventually("it is ready", e2e::SOON, || {
        let found = world.find_in(&place("Subscription"), "Subscription", subscription);
        match standing(&found.unwrap_or_default(), "Ready").as_str() {
            "True Active" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    assert_eq!(vendor.count("live"), 1);
    run("delete");
    assert_eq!(vendor.count("live"), 0);
}

/// Limits and parameters arrive as they are written, wherever they stand.
fn everything_was_sent(applied: &[(String, String, Value, Vendor)]) {
    let example = applied
        .iter()
        .find(|(name, ..)| name == "limits-and-parameters")
        .unwrap();
    let calls = example.3.calls();
    let body = calls[0].body();
    assert_eq!(
        body["limits"],
        json!({"machines": 12, "storageTiB": "1.5", "bandwidth": "unlimited"})
    );
    assert_eq!(
        body["parameters"],
        json!({
            "contact_email": "it@northwind.example",
            "admin_password": "correct-horse-battery",
            "region": "eu-central",
        })
    );
}

#[test]
fn every_invalid_example_is_refused_as_its_first_line_says() {
    let world = World::builder().without_operator().start();
    let files = files("invalid");
    assert!(files.len() >= 40, "only {} files", files.len());
    let mut wrong = Vec::new();
    for (name, text) in &files {
        let promise = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# refused: "))
            .unwrap_or_else(|| panic!("{name} promises nothing"));
        let documents: Vec<&str> = text.split("\n---\n").collect();
        let (last, before) = documents.split_last().unwrap();
        for document in before {
            strictly(&world, document).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        match strictly(&world, last) {
            Ok(_) => wrong.push(format!("{name} was accepted")),
            Err(error) if error.contains(promise) => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_for_a_cluster_are_what_the_api_server_takes() {
    let world = World::builder().without_operator().start();
    for (name, text) in files("in-cluster") {
        assert!(text.starts_with("# "), "{name} does not say what it shows");
        let args = ["apply", "--validate=strict", "--dry-run=server", "-f", "-"];
        let output = world.kubectl_with(&args, &text);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {error}");
    }
}
