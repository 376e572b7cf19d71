//! What a vendor tells of a tenant, and what of it stays in status.

use crate::model::{World, request};
use fulfillment_crds::{
    IdentityMode, ParameterValue, Reason, RequestStatus, RequestType, SubscriptionState,
    SubscriptionStatus,
};
use fulfillment_operator::{
    facts::{Facts, Intent},
    ledger,
    plan::{Rest, Step},
    report::{About, report},
    vendor::{Answer, Fulfillment, FulfillmentStatus, Said, Tenant, TenantStatus},
};

fn provisioned() -> Facts {
    let mut world = World::new(IdentityMode::ExternalId);
    world.finalized = true;
    world.status.tenant_id = Some("t1".into());
    world.status.state = Some(SubscriptionState::Active);
    world.status.activation = Some("Your key is hush".into());
    let value = |name: &str| ParameterValue {
        name: name.into(),
        value: "hush".into(),
    };
    world.status.parameters = vec![value("key"), value("link")];
    world.facts()
}

fn names(f: &Facts) -> Vec<&str> {
    f.ledger
        .parameters
        .iter()
        .map(|p| p.name.as_str())
        .collect()
}

fn read(f: &mut Facts, tenant: Tenant) {
    let answer = Answer {
        said: Said::Tenant(Box::new(tenant)),
        retry_after: None,
        replayed: false,
    };
    ledger::answered(f, &Step::Read, Ok(answer));
}

fn events(f: &Facts) -> Vec<(Reason, String)> {
    let before = SubscriptionStatus::default();
    let about = About {
        namespace: "team-a",
        name: "contoso-mail",
        output: None,
        tier: None,
        unverified_since: None,
        before: &before,
    };
    let report = report(f, Rest::InSync, &about).unwrap();
    let notes = report.notes.into_iter();
    notes.map(|note| (note.reason, note.note)).collect()
}

#[test]
fn what_a_product_has_come_to_hide_leaves_status() {
    let mut f = provisioned();
    f.desired.unshown = vec!["key".into()];
    f.desired.template = Some("Your key is {key}".into());
    ledger::rested(&mut f, Rest::InSync);
    assert_eq!(names(&f), ["link"]);
    assert_eq!(f.ledger.activation.as_deref(), Some("Your key is "));
}

#[test]
fn a_new_tenant_inherits_nothing_of_the_dead_one() {
    let mut f = provisioned();
    let intent = Intent {
        id: "r9".into(),
        attempt: 1,
        external_id: "k1-x".into(),
        body: None,
        repeated: false,
        after: Some("t1".into()),
    };
    ledger::intended(&mut f, &intent);
    assert_eq!((names(&f).len(), &f.ledger.activation), (0, &None));
}

#[test]
fn an_inquiry_that_the_vendor_ends_itself_corrects_nothing() {
    let mut f = provisioned();
    let mut asked = request(RequestType::Change, RequestStatus::Inquiring, "");
    asked.message = "which building?".into();
    asked.started_at = Some(fulfillment_crds::Time(f.clock.now));
    f.ledger.request = Some(asked);
    read(
        &mut f,
        Tenant {
            id: "t1".into(),
            status: TenantStatus::Active,
            request: Some(Fulfillment {
                status: FulfillmentStatus::Approved,
                reason: String::new(),
                parameter_errors: Vec::new(),
            }),
            ..Tenant::default()
        },
    );
    assert_eq!(
        events(&f),
        [(Reason::Approved, "Change approved, tenant t1".to_owned())]
    );
}

#[test]
fn a_value_too_long_for_status_is_named_and_takes_its_older_one_along() {
    let mut f = provisioned();
    f.ledger.request = Some(request(RequestType::Purchase, RequestStatus::Pending, ""));
    read(
        &mut f,
        Tenant {
            id: "t1".into(),
            status: TenantStatus::Active,
            given: [("link".to_owned(), "x".into())].into(),
            ..Tenant::default()
        },
    );
    assert_eq!(names(&f), ["key"]);
    let events = events(&f);
    let [(Reason::Approved, note)] = events.as_slice() else {
        panic!("another event");
    };
    assert!(
        note.contains("too long for status, and left out: link;"),
        "{note}"
    );
}
