//! The server does what `openapi.yaml` says, and all of it.

use crate::support::{Answer, Vendor};
use jsonschema::Validator;
use reference_vendor::{Auth, Config, Identity};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The document, with a memory of what of it was seen.
struct Contract {
    document: Value,
    validators: BTreeMap<String, Validator>,
    seen: BTreeSet<(String, String)>,
}

impl Contract {
    fn read() -> Self {
        let document: Value = serde_yaml::from_str(include_str!("../../openapi.yaml")).unwrap();
        Self {
            document,
            validators: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    /// What the pointer leads to, references followed.
    fn at(&self, pointer: &str) -> Option<(&Value, String)> {
        let value = self.document.pointer(pointer)?;
        match value["$ref"].as_str() {
            Some(reference) => self.at(reference.strip_prefix('#').unwrap()),
            None => Some((value, pointer.to_owned())),
        }
    }

    /// Checks a value against the schema at the pointer.
    fn check(&mut self, pointer: &str, value: &Value) -> Result<(), String> {
        if !self.validators.contains_key(pointer) {
            let schema = json!({
                "$ref": format!("#{}", pointer.replace('{', "%7B").replace('}', "%7D")),
                "components": self.document["components"], "paths": self.document["paths"],
            });
            let validator = jsonschema::draft202012::new(&schema).unwrap();
            self.validators.insert(pointer.to_owned(), validator);
        }
        let errors: Vec<String> = self.validators[pointer]
            .iter_errors(value)
            .map(|error| error.to_string())
            .collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors.join("; "))
        }
    }

    /// Makes a call and checks body and answer.
    async fn call(
        &mut self,
        vendor: &Vendor,
        method: &str,
        path: &str,
        body: Option<Value>,
        status: u16,
    ) -> Answer {
        let request = vendor.request(method, path);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        self.exchange(Answer::of(request).await, method, path, body, status)
    }

    fn exchange(
        &mut self,
        answer: Answer,
        method: &str,
        path: &str,
        body: Option<Value>,
        status: u16,
    ) -> Answer {
        let path = path.split('?').next().unwrap();
        let template = match path.split('/').collect::<Vec<_>>()[..] {
            ["", "tenant"] => "/tenant".to_owned(),
            ["", "tenant", _] => "/tenant/{id}".to_owned(),
            ["", "tenant", _, operation] => format!("/tenant/{{id}}/{operation}"),
            _ => panic!("{path}"),
        };
        let what = format!("{method} {template}: {answer}");
        assert_eq!(answer.status, status, "{what}");
        let operation = format!(
            "/paths/{}/{}",
            template.replace('/', "~1"),
            method.to_lowercase()
        );

        let good = answer.status < 300 || answer.status == 409;
        let takes_body = self.at(&format!("{operation}/requestBody")).is_some();
        if let (Some(body), true) = (body, good && takes_body) {
            let schema = format!("{operation}/requestBody/content/application~1json/schema");
            self.check(&schema, &body)
                .unwrap_or_else(|error| panic!("{what}: request: {error}"));
        }
        let documented = self.at(&format!("{operation}/responses/{status}"));
        let (response, pointer) = documented
            .map(|(response, at)| (response.clone(), at))
            .unwrap_or_else(|| panic!("undocumented: {what}"));
        if response["content"].is_null() {
            assert_eq!(answer.body, "", "{what}");
        } else {
            assert_eq!(answer.header("content-type"), "application/json", "{what}");
            let schema = format!("{pointer}/content/application~1json/schema");
            self.check(&schema, &answer.json())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        for (header, value) in &answer.headers {
            let name = header.as_str();
            if ["content-type", "content-length", "date"].contains(&name) {
                continue;
            }
            let documented = response["headers"].as_object().into_iter().flatten();
            let documented = documented
                .map(|(name, _)| name)
                .find(|it| it.eq_ignore_ascii_case(name));
            let documented =
                documented.unwrap_or_else(|| panic!("undocumented header {name}: {what}"));
            let (_, pointer) = self.at(&format!("{pointer}/headers/{documented}")).unwrap();
            let value = json!(value.to_str().unwrap());
            self.check(&format!("{pointer}/schema"), &value).unwrap();
        }
        self.seen
            .insert((format!("{method} {template}"), status.to_string()));
        answer
    }

    /// Every operation with every status it documents.
    fn documented(&self) -> BTreeSet<(String, String)> {
        let mut all = BTreeSet::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                for status in operation["responses"].as_object().unwrap().keys() {
                    all.insert((format!("{} {path}", method.to_uppercase()), status.clone()));
                }
            }
        }
        all
    }
}

#[tokio::test]
async fn the_server_keeps_to_its_contract() {
    let mut contract = Contract::read();
    let vendor = Vendor::start().await;
    let order = |external_id: &str| {
        Some(json!({
            "externalId": external_id, "product": "p", "limits": {"seats": 50, "gib": "unlimited", "x": "1.5"},
            "parameters": {"phone": "+1"}, "tiers": {"customer": {"externalId": "c"}},
            "callbackUrl": "https://operator.example/callbacks/1",
        }))
    };
    let seats = |seats: Value| Some(json!({"limits": {"seats": seats}}));
    let large = Some(json!({"externalId": "l", "parameters": {"x": "x".repeat(256 << 10)}}));
    let path = "/tenant/t-1001";

    // At once.
    contract
        .call(&vendor, "POST", "/tenant", order("a"), 201)
        .await;
    contract
        .call(&vendor, "POST", "/tenant", order("a"), 409)
        .await;
    contract
        .call(&vendor, "POST", "/tenant", Some(json!({})), 400)
        .await;
    contract
        .call(&vendor, "POST", "/tenant", large.clone(), 413)
        .await;
    contract
        .call(&vendor, "GET", "/tenant?externalId=a", None, 200)
        .await;
    contract
        .call(&vendor, "GET", "/tenant?externalId=b", None, 200)
        .await;
    contract.call(&vendor, "GET", "/tenant", None, 400).await;
    contract.call(&vendor, "GET", path, None, 200).await;
    contract
        .call(&vendor, "PUT", path, seats(json!("60")), 200)
        .await;
    contract
        .call(&vendor, "PUT", path, seats(json!(-1)), 400)
        .await;
    contract.call(&vendor, "PUT", path, large, 413).await;
    for operation in ["disable", "enable"] {
        contract
            .call(&vendor, "PUT", &format!("{path}/{operation}"), None, 204)
            .await;
    }
    vendor.behave(json!({"deleteOnlySuspended": true})).await;
    contract.call(&vendor, "DELETE", path, None, 409).await;
    vendor.behave(json!({"deleteOnlySuspended": false})).await;
    contract.call(&vendor, "DELETE", path, None, 204).await;
    contract
        .call(&vendor, "POST", "/tenant", order("a"), 409)
        .await;
    for (method, suffix) in [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("PUT", "/disable"),
        ("PUT", "/enable"),
    ] {
        contract
            .call(
                &vendor,
                method,
                &format!("{path}{suffix}"),
                seats(json!(1)),
                404,
            )
            .await;
    }

    // Later.
    let plan = json!({"async": {"after": "manual"}});
    vendor
        .behave(json!({"operations": {
            "create": plan, "change": plan, "disable": plan, "enable": plan, "delete": plan,
        }}))
        .await;
    let path = "/tenant/t-1002";
    let approve = async || vendor.decide(path, json!({"status": "approved"})).await;
    contract
        .call(&vendor, "POST", "/tenant", order("b"), 202)
        .await;
    contract.call(&vendor, "GET", path, None, 200).await;
    for suffix in ["", "/disable", "/enable"] {
        contract
            .call(
                &vendor,
                "PUT",
                &format!("{path}{suffix}"),
                seats(json!(1)),
                409,
            )
            .await;
    }
    approve().await;
    for (method, suffix) in [
        ("PUT", ""),
        ("PUT", "/disable"),
        ("PUT", "/enable"),
        ("DELETE", ""),
    ] {
        contract
            .call(
                &vendor,
                method,
                &format!("{path}{suffix}"),
                seats(json!(2)),
                202,
            )
            .await;
        let inquiry =
            json!({"status": "inquiring", "reason": "?", "parameterErrors": {"phone": "which?"}});
        vendor.decide(path, inquiry).await;
        contract.call(&vendor, "GET", path, None, 200).await;
        approve().await;
    }
    vendor
        .behave(
            json!({"operations": {"create": {"async": {"status": 201, "retryAfterAsDate": true}}}}),
        )
        .await;
    contract
        .call(&vendor, "POST", "/tenant", order("c"), 201)
        .await;

    // By a key.
    let config = Config {
        identity: Identity::IdempotencyKey,
        ..Config::default()
    };
    let vendor = Vendor::with(config).await;
    for (key, external_id, status) in [
        ("k", "a", 201),
        ("k", "a", 201),
        ("k", "b", 422),
        ("l", "c", 201),
    ] {
        let order = order(external_id);
        let request = vendor
            .request("POST", "/tenant")
            .header("Idempotency-Key", key)
            .json(&order);
        contract.exchange(Answer::of(request).await, "POST", "/tenant", order, status);
    }
    contract
        .call(&vendor, "GET", "/tenant?externalId=a", None, 400)
        .await;

    // Without a right to.
    let auth = Auth::Bearer("t".to_owned());
    let vendor = Vendor::with(Config {
        auth,
        ..Config::default()
    })
    .await;
    for (method, path) in [
        ("POST", "/tenant"),
        ("GET", "/tenant"),
        ("GET", "/tenant/x"),
        ("PUT", "/tenant/x"),
        ("DELETE", "/tenant/x"),
        ("PUT", "/tenant/x/disable"),
        ("PUT", "/tenant/x/enable"),
    ] {
        contract.call(&vendor, method, path, None, 401).await;
    }

    let documented = contract.documented();
    let untested: Vec<_> = documented.difference(&contract.seen).collect();
    assert!(
        untested.is_empty(),
        "documented, but not tested: {untested:?}"
    );
}

#[test]
fn the_contract_refuses_what_it_should() {
    let mut contract = Contract::read();
    for wrong in [
        json!({"seats": -1}),
        json!({"seats": 2.5}),
        json!({"seats": "many"}),
        json!({"seats": null}),
    ] {
        assert!(
            contract
                .check("/components/schemas/Limits", &wrong)
                .is_err(),
            "{wrong}"
        );
    }
    assert!(
        contract
            .check("/components/schemas/Order", &json!({"limits": {}}))
            .is_err()
    );
    assert!(
        contract
            .check(
                "/components/schemas/Order",
                &json!({"externalId": "a", "limits": {"a": []}})
            )
            .is_err()
    );
    assert!(
        contract
            .check("/components/schemas/Tenant", &json!({"id": "a"}))
            .is_err()
    );
    let example = contract.document["components"]["schemas"]["Tenant"]["example"].clone();
    contract
        .check("/components/schemas/Tenant", &example)
        .unwrap();
    for (method, schema) in [("post", "Order"), ("put", "Change")] {
        let path = if method == "post" {
            "/tenant"
        } else {
            "/tenant/{id}"
        };
        let content = &contract.document["paths"][path][method]["requestBody"]["content"];
        let example = content["application/json"]["example"].clone();
        contract
            .check(&format!("/components/schemas/{schema}"), &example)
            .unwrap();
    }
}
