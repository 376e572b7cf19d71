//! Dialects as the connection has them: what is written, what is read, what is refused.

use std::sync::LazyLock;

use fulfillment_crds as spec;
use http::{HeaderName, HeaderValue, header};
use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::vendor::{Order, text::Secrets, wire};

fn dialect(yaml: serde_json::Value) -> Dialect {
    let spec: spec::Dialect = serde_json::from_value(yaml).unwrap();
    Dialect::new(Some(&spec), &[]).unwrap()
}

fn refused(yaml: serde_json::Value) -> String {
    let spec: spec::Dialect = serde_json::from_value(yaml).unwrap();
    Dialect::new(Some(&spec), &[]).unwrap_err()
}

/// A body without headers.
fn plain(body: &(impl AsRef<[u8]> + ?Sized)) -> (&HeaderMap, &[u8]) {
    static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    (&NONE, body.as_ref())
}

fn order() -> Order {
    Order {
        external_id: "e-1".into(),
        product: "mail-pro".into(),
        limits: [("seats".to_owned(), spec::LimitValue::parse("50"))].into(),
        parameters: [("phone".to_owned(), SecretString::from("+1"))].into(),
        ..Order::default()
    }
}

fn ask<'a>(operation: Operation, id: &'a str, order: &'a Order) -> Ask<'a> {
    Ask {
        operation,
        id,
        name: &order.external_id,
        token: Some("op/1"),
        order,
        inputs: true,
        current: Some(Current {
            body: json!({"version": 3}),
            headers: HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"v3\""))]),
        }),
    }
}

#[test]
fn nothing_said_is_the_contract() {
    let dialect = Dialect::new(None, &[]).unwrap();
    let order = order();
    for (operation, method, path) in [
        (Operation::Create, "POST", "/tenant"),
        (Operation::Get, "GET", "/tenant/t%2F1"),
        (Operation::Lookup, "GET", "/tenant"),
        (Operation::Change, "PUT", "/tenant/t%2F1"),
        (Operation::Disable, "PUT", "/tenant/t%2F1/disable"),
        (Operation::Enable, "PUT", "/tenant/t%2F1/enable"),
        (Operation::Delete, "DELETE", "/tenant/t%2F1"),
    ] {
        let written = dialect.write(&ask(operation, "t/1", &order)).unwrap();
        assert_eq!(
            (written.method.as_str(), written.path.as_str()),
            (method, path)
        );
        assert!(!dialect.reads_first(operation));
    }
    assert!(!dialect.polls());
    assert!(dialect.tenant(Operation::Get, "p", plain("{}")).is_none());
}

#[test]
fn calls_are_written_as_the_dialect_says() {
    let dialect = dialect(json!({
        "create": {"body": "{'Attributes': {'product': {'mpn': subscription.product}}}"},
        "get": {"path": "/t/{id}/of/{subscription.product}"},
        "poll": {"path": "/op/{operation}", "query": {"of": "id", "none": "null"}},
        "change": {
            "method": "PATCH",
            "headers": {"If-Match": "string(current.version)"},
            "body": "{'licences': {'limit': string(subscription.limits.seats)}}",
        },
        "delete": {"path": "/t/{id}", "query": {"version": "current.version"}, "body": "{}"},
    }));
    let order = order();
    let write = |operation| dialect.write(&ask(operation, "t-1", &order)).unwrap();
    let create = write(Operation::Create);
    assert_eq!(create.path, "/tenant");
    assert_eq!(
        create.body,
        Some(json!({"Attributes": {"product": {"mpn": "mail-pro"}}}))
    );
    assert_eq!(write(Operation::Get).path, "/t/t-1/of/mail-pro");
    let poll = write(Operation::Poll);
    assert_eq!(poll.path, "/op/op%2F1");
    assert_eq!(poll.query, [("of".to_owned(), "t-1".to_owned())]);
    let change = write(Operation::Change);
    assert_eq!(change.method.as_str(), "PATCH");
    assert_eq!(change.headers["if-match"], "3");
    assert_eq!(change.body, Some(json!({"licences": {"limit": "50"}})));
    let delete = write(Operation::Delete);
    assert_eq!(delete.query, [("version".to_owned(), "3".to_owned())]);
    assert_eq!(delete.body, Some(json!({})));
    for (operation, first) in [
        (Operation::Create, false),
        (Operation::Get, false),
        (Operation::Change, true),
        (Operation::Delete, true),
    ] {
        assert_eq!(dialect.reads_first(operation), first);
    }
    assert!(dialect.polls());
}

#[test]
fn what_a_subscription_does_not_have_is_named() {
    let dialect = dialect(json!({
        "create": {"body": "{'n': subscription.limits.mailboxes}"},
        "get": {"path": "/t/{subscription.parameters.site}"},
        "enable": {"path": "/t/{'..'}"},
        "disable": {"body": "'text'"},
    }));
    let order = order();
    let said = |operation| dialect.write(&ask(operation, "t-1", &order)).unwrap_err();
    assert_eq!(
        said(Operation::Create),
        "dialect.create.body: there is no mailboxes"
    );
    assert_eq!(said(Operation::Get), "dialect.get.path: there is no site");
    assert_eq!(
        said(Operation::Enable),
        "dialect.enable.path cannot stand in a URL"
    );
    assert_eq!(
        said(Operation::Disable),
        "dialect.disable.body gives no object"
    );
}

#[test]
fn answers_are_read_as_the_dialect_says() {
    let dialect = dialect(json!({
        "lookup": {"answer": {"tenant": "answer.items"}},
        "answer": {
            "tenant": "has(answer.existing) ? answer.existing : answer",
            "id": "answer.tenantId",
            "status": "answer.enabled ? 'on' : 'off'",
            "limits": "has(answer.licences) ? {'seats': answer.licences.limit} : {}",
            "parameters": "{'link': answer.link}",
            "requestStatus": "answer.provisioning",
            "requestReason": "answer.detail",
        },
        "statusWords": {"on": "active", "off": "suspended"},
        "requestWords": {"done": "approved"},
    }));
    let read = |operation, body: &str| {
        let mapped = dialect
            .tenant(operation, "p", plain(body))
            .unwrap()
            .unwrap();
        wire::mapped_tenant(mapped, &Secrets::default()).unwrap()
    };
    let tenant = read(
        Operation::Get,
        r#"{"tenantId": 7, "externalId": "e-1", "enabled": true, "licences": {"limit": "10"}, "link": "https://x", "provisioning": "done"}"#,
    );
    assert_eq!(tenant.id, "7");
    assert_eq!(tenant.external_id.as_deref(), Some("e-1"));
    assert_eq!(tenant.status, crate::vendor::TenantStatus::Active);
    assert_eq!(tenant.limits.unwrap()["seats"].to_string(), "10");
    assert_eq!(tenant.parameters["link"], "https://x");
    let request = tenant.request.unwrap();
    assert_eq!(request.status, crate::vendor::FulfillmentStatus::Approved);
    let existing = read(
        Operation::Create,
        r#"{"existing": {"tenantId": "t-1", "enabled": false}}"#,
    );
    assert_eq!(existing.status, crate::vendor::TenantStatus::Suspended);
    assert!(existing.limits.unwrap().is_empty() && existing.request.is_none());
    let found = dialect
        .tenants(
            "p",
            plain(r#"{"items": [{"tenantId": "t-1", "externalId": "e-1"}]}"#),
        )
        .unwrap()
        .unwrap();
    assert_eq!(
        wire::mapped_tenants(found, "e-1", &Secrets::default())
            .unwrap()
            .len(),
        1
    );
    assert!(dialect.tenants("p", plain("{}")).unwrap().is_err());
    let wrong = dialect
        .tenant(Operation::Get, "p", plain(r#"{"enabled": "yes"}"#))
        .unwrap();
    assert!(wrong.unwrap_err().starts_with("dialect.answer.status"));
}

#[test]
fn an_inquiry_may_be_a_word_and_a_list() {
    const SHIPPED: &str = include_str!("../../../../examples/vendors/scenario.yaml");
    const WRONG: &str = "answer.params.map(p, !(p.?value_error.orValue('') in ['', null]), {'name': p.id, 'message': p.value_error})";
    let shipped = SHIPPED.replace('"', "'");
    assert_eq!(
        shipped.matches(WRONG).count(),
        2,
        "of a request and of a refusal"
    );
    let dialect = dialect(json!({
        "answer": {
            "requestStatus": "answer.state",
            "parameterErrors": WRONG,
        },
        "requestWords": {"input required": "inquiring"},
        "error": {"parameters": WRONG},
    }));
    let read = |body: &str| {
        let mapped = dialect.tenant(Operation::Get, "p", plain(body));
        mapped
            .unwrap()
            .and_then(|value| wire::mapped_tenant(value, &Secrets::default()))
    };
    let params = r#"[{"id": "phone", "value_error": "no"}, {"id": "fax", "value_error": ""}, {"id": "site"}, {"id": "city", "value_error": null}]"#;
    let body = format!(r#"{{"state": "input required", "params": {params}}}"#);
    let request = read(&body).unwrap().request.unwrap();
    assert_eq!(request.status, crate::vendor::FulfillmentStatus::Inquiring);
    let errors = request.parameter_errors;
    assert_eq!((errors.len(), errors[0].name.as_str()), (1, "phone"));
    // Where none are wrong there may be none.
    assert!(read(r#"{"state": "ready"}"#).is_ok());
    // A refusal that finds nothing wrong with any is about none.
    for (params, wrong) in [(params, 1), (r#"[{"id": "fax", "value_error": ""}]"#, 0)] {
        let body = format!(r#"{{"message": "no", "params": {params}}}"#);
        let (error, _) = dialect.refusal(422, plain(&body)).unwrap();
        let (_, _, errors) = wire::error_in(&error, &Secrets::default());
        assert_eq!(errors.len(), wrong, "{errors:?}");
    }
}

#[test]
fn an_answer_has_headers_too() {
    let dialect = dialect(json!({
        "answer": {"operation": "headers['x-operation']"},
        "error": {"code": "headers['x-reason']", "busy": "headers['x-reason'] == 'locked'"},
        "enable": {"headers": {"If-Match": "headers.etag"}},
        "disable": {"headers": {"If-Match": "headers.?version"}},
    }));
    let headers = |name, value| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
    let operation = headers(HeaderName::from_static("x-operation"), "op-7");
    let read = dialect.tenant(Operation::Change, "p", (&operation, b"{}"));
    assert_eq!(read.unwrap().unwrap()["operation"], "op-7");
    let reason = headers(HeaderName::from_static("x-reason"), "locked");
    let (error, busy) = dialect.refusal(400, (&reason, b"")).unwrap();
    assert!(busy);
    assert_eq!(error["error"]["code"], "locked");

    let order = order();
    let written = |operation| {
        dialect
            .write(&ask(operation, "t-1", &order))
            .unwrap()
            .headers
    };
    assert_eq!(written(Operation::Enable)["if-match"], "\"v3\"");
    // What is not there is left out where the expression takes that.
    assert!(written(Operation::Disable).is_empty());
    for (operation, first) in [(Operation::Enable, true), (Operation::Change, false)] {
        assert_eq!(dialect.reads_first(operation), first);
    }
}

#[test]
fn headers_without_a_body_tell_of_a_new_tenant_or_of_an_operation() {
    let dialect = dialect(json!({
        "create": {"answer": {"id": "headers['x-tenant']"}},
        "answer": {
            "tenant": "answer.tenant",
            "id": "answer.id",
            "status": "answer.on ? 'active' : 'suspended'",
            "limits": "has(answer.seats) ? {'seats': answer.seats} : {}",
            "operation": "answer.?operation.orValue(headers['x-operation'])",
        },
    }));
    let mut headers = HeaderMap::new();
    let every = OPERATIONS.map(|operation| dialect.bare(operation, &headers));
    assert_eq!(every, [const { None }; 8]);
    headers.insert("x-tenant", HeaderValue::from_static("t-1"));
    headers.insert("x-operation", HeaderValue::from_static("op-7"));
    for operation in OPERATIONS {
        let told = if operation == Operation::Create {
            json!({"id": "t-1", "operation": "op-7"})
        } else {
            json!({"operation": "op-7"})
        };
        let told = (!operation.is_read()).then_some(Ok(told));
        assert_eq!(dialect.bare(operation, &headers), told, "{operation:?}");
    }
    // Who has a new one's operation and not its id has no tenant yet.
    headers.remove("x-tenant");
    assert_eq!(dialect.bare(Operation::Create, &headers), None);
}

#[test]
fn refusals_are_read_as_the_dialect_says() {
    let dialect = dialect(json!({
        "error": {
            "code": "answer.error",
            "message": "answer.description",
            "parameters": "answer.fields",
            "busy": "status == 422 && answer.error == 'ConcurrencyError'",
        },
    }));
    let body = br#"{"error": "ConcurrencyError", "description": "one at a time"}"#;
    let (error, busy) = dialect.refusal(422, plain(body)).unwrap();
    assert!(busy);
    let (code, message, _) = wire::error_in(&error, &Secrets::default());
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("ConcurrencyError", "one at a time")
    );
    assert!(!dialect.refusal(400, plain(body)).unwrap().1);
    let (error, busy) = dialect
        .refusal(422, plain(r#"{"error": "Bad", "fields": {"phone": "no"}}"#))
        .unwrap();
    assert!(!busy);
    assert_eq!(
        wire::error_in(&error, &Secrets::default()).2[0].name,
        "phone"
    );
}

#[test]
fn a_refusal_without_json_is_told_by_its_status_and_errors_may_be_a_list() {
    let dialect = dialect(json!({
        "error": {"busy": "status == 412", "code": "string(status)", "message": "answer.why",
            "parameters": "answer.fields"},
    }));
    let (error, busy) = dialect.refusal(412, plain("Precondition Failed")).unwrap();
    assert!(busy);
    assert_eq!(error["error"]["code"], "412");
    assert!(error["error"]["message"].is_null());
    assert!(!dialect.refusal(500, plain("<html>")).unwrap().1);
    let body = br#"{"fields": [{"name": "phone", "message": "no"}, {"name": 1}, "x"]}"#;
    let (error, _) = dialect.refusal(422, plain(body)).unwrap();
    let errors = wire::error_in(&error, &Secrets::default()).2;
    assert_eq!(
        (
            errors.len(),
            errors[0].name.as_str(),
            errors[0].message.as_str()
        ),
        (1, "phone", "no")
    );
}

#[test]
fn what_cannot_be_meant_is_refused_where_it_stands() {
    for (spec, said) in [
        (
            json!({"create": {"body": "{'a': }"}}),
            "dialect.create.body, line 1, column",
        ),
        (
            json!({"create": {"body": "tenant.id"}}),
            "dialect.create.body, line 1, column 1 uses tenant",
        ),
        (
            json!({"get": {"path": "/t/{id"}}),
            "dialect.get.path: a brace is not closed",
        ),
        (
            json!({"get": {"path": "/t?x={id}"}}),
            "dialect.get.path: a path has no query",
        ),
        (
            json!({"get": {"headers": {"Authorization": "'x'"}}}),
            "dialect.get.headers.Authorization",
        ),
        (
            json!({"answer": {"id": "tenantId"}}),
            "dialect.answer.id, line 1, column 1 uses tenantId",
        ),
        (
            json!({"poll": {"answer": {"status": "answer.state +"}}}),
            "dialect.poll.answer.status, line",
        ),
        (
            json!({"create": {"path": "/t/{id}"}}),
            "dialect.create.path, line 1, column 1 uses id",
        ),
        (
            json!({"lookup": {"query": {"v": "current.version"}}}),
            "dialect.lookup.query.v, line 1, column 1 uses current",
        ),
        (
            json!({"change": {"body": "{'op': operation}"}}),
            "dialect.change.body, line 1, column 8 uses operation",
        ),
        (
            json!({"error": {"busy": "code == 1"}}),
            "dialect.error.busy, line 1, column 1 uses code",
        ),
    ] {
        let error = refused(spec);
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn an_expression_wins_over_a_path_and_what_has_none_follows_it() {
    let spec: spec::Dialect = serde_json::from_value(json!({
        "create": {"body": "{'seats': subscription.limits.seats}"},
        "get": {"answer": {"limits": "{'seats': answer.licences.other}"}},
        "answer": {
            "tenant": "answer.tenant", "status": "'active'",
            "sensitive": "['phone_number']",
        },
    }))
    .unwrap();
    let product = json!({
        "name": "mail-pro",
        "limits": [{"name": "seats", "path": "licences.limit"}],
        "parameters": [{"name": "phone", "path": "contact.phone_number"}],
    });
    let products = [serde_json::from_value(product).unwrap()];
    let dialect = Dialect::new(Some(&spec), &products).unwrap();
    let order = order();
    let body = |operation| {
        let written = dialect.write(&ask(operation, "t-1", &order)).unwrap();
        written.body.unwrap()
    };
    assert_eq!(body(Operation::Create), json!({"seats": 50}));
    assert_eq!(
        body(Operation::Change),
        json!({"licences": {"limit": 50}, "contact": {"phone_number": "+1"}})
    );
    let theirs =
        r#"{"tenant": {"licences": {"limit": 1, "other": 2}, "contact": {"phone_number": "+2"}}}"#;
    for (operation, seats) in [(Operation::Get, 2), (Operation::Change, 1)] {
        let read = dialect
            .tenant(operation, "mail-pro", plain(theirs))
            .unwrap()
            .unwrap();
        assert_eq!(read["limits"], json!({"seats": seats}));
        assert_eq!(read["parameters"], json!({"phone": "+2"}));
        assert_eq!(read["sensitive"], json!(["phone_number", "phone"]));
    }
}
