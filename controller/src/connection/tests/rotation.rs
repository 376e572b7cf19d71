//! What a connection says of credentials that are replaced, and what a call with both costs.

use std::time::Duration;

use fulfillment_crds::{Condition, Reason, VendorConnectionStatus};
use tokio::time::Instant;

use super::*;
use crate::{
    connection::{UNTRIED, answered, learnt},
    link::{Usable, usable},
    pace,
    vendor::{Answer, Class, Effect, Operation, Said, VendorClient, VendorError},
};

type Outcome = Result<Answer, VendorError>;

/// One connection, whose Secret holds a token that can be replaced.
struct Rotated {
    world: World,
    token: Arc<Mutex<String>>,
    version: usize,
}

impl Rotated {
    fn new() -> Self {
        // What it says to a second one does not matter.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let token = Arc::new(Mutex::new("old".to_owned()));
        let held = Arc::clone(&token);
        let server = Router::new().fallback(move || {
            let data = data_encoding::BASE64.encode(held.lock().unwrap().as_bytes());
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "acme-token", "namespace": "team"}, "data": {"token": data},
            });
            std::future::ready(secret.to_string())
        });
        let mut world = world(server, "team", None);
        let mut acme = connection("acme", "acme-token");
        acme["spec"]["budget"] = json!({"requestsPerSecond": 1, "burst": 1, "maxInFlight": 1});
        cache(&mut world.connections, &acme);
        Self {
            world,
            token,
            version: 0,
        }
    }

    /// The connection with another token.
    async fn with(&mut self, token: &str) -> Usable {
        token.clone_into(&mut self.token.lock().unwrap());
        self.version += 1;
        let meta = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "acme-token", "namespace": "team", "resourceVersion": self.version.to_string(),
            },
        });
        let secret: PartialObjectMeta<_> = serde_json::from_value(meta).unwrap();
        let secrets = &mut self.world.secrets;
        secrets.apply_watcher_event(&Event::Apply(secret));
        let key = ConnectionKey {
            namespace: Some("team".into()),
            name: "acme".into(),
        };
        let found = usable(&self.world.ctx, &self.world.scope, &key).await;
        found.expect("an API server").expect("a usable connection")
    }
}

fn done() -> Outcome {
    Ok(Answer {
        said: Said::Done,
        retry_after: None,
        replayed: false,
    })
}

fn refused() -> Outcome {
    Err(VendorError {
        class: Class::Auth,
        effect: Effect::None,
        retry_after: None,
        status: Some(401),
        code: String::new(),
        message: "who are you?".into(),
        parameters: Vec::new(),
        unsent: false,
    })
}

/// Makes a call that is answered so in turn; says with which clients it was made, and when.
async fn call(usable: &Usable, answers: &[fn() -> Outcome]) -> Vec<(Arc<VendorClient>, Instant)> {
    let sent = Mutex::new(Vec::new());
    let send = |client: Arc<VendorClient>| {
        let mut sent = sent.lock().unwrap();
        sent.push((client, Instant::now()));
        std::future::ready(answers[sent.len() - 1]())
    };
    let answer = usable.call(Operation::Get, send).await;
    assert!(answer.is_ok());
    sent.into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn both_calls_are_paid_for_and_the_former_go_on_with_the_client_they_had() {
    let mut acme = Rotated::new();
    let first = call(&acme.with("old").await, &[done]).await;
    let usable = acme.with("wrong").await;
    usable.budget.token().await;
    let both = call(&usable, &[refused, done]).await;
    let [(newest, began), (former, again)] = &both[..] else {
        panic!("{} calls", both.len());
    };
    assert!(Arc::ptr_eq(former, &first[0].0), "its token is not lost");
    assert!(!Arc::ptr_eq(newest, former));
    assert_eq!(again.duration_since(*began), Duration::from_secs(1));
    let back = call(&acme.with("old").await, &[done]).await;
    assert!(Arc::ptr_eq(&back[0].0, former));
}

#[tokio::test(start_paused = true)]
async fn a_connection_says_nothing_of_credentials_that_no_call_was_made_with() {
    let mut acme = Rotated::new();
    let usable = acme.with("old").await;
    call(&usable, &[done]).await;
    let answers = answered(&usable).expect("it answers");
    assert_eq!(answers.0, Reason::VendorAnswers);

    let usable = acme.with("wrong").await;
    assert_eq!(answered(&usable), Ok((Reason::Configured, UNTRIED)));
    call(&usable, &[refused, done]).await;
    let (reason, message) = answered(&usable).expect_err("they are refused");
    assert_eq!(reason, Reason::Unauthorized);

    // As it is said it does not outlive the process, which has the former ones.
    let stands = |message: &str| {
        let ready = Condition {
            type_: "Ready".into(),
            status: "False".into(),
            observed_generation: Some(1),
            last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(pace::now()),
            reason: reason.as_str().into(),
            message: message.into(),
        };
        let before = VendorConnectionStatus {
            conditions: vec![ready],
            ..VendorConnectionStatus::default()
        };
        learnt(&before, Some(1))
    };
    assert!(!stands(&message), "{message}");
    assert!(stands("who are you?"));

    let usable = acme.with("corrected").await;
    assert_eq!(answered(&usable), Ok((Reason::Configured, UNTRIED)));
    call(&usable, &[done]).await;
    let answers = answered(&usable).expect("it answers");
    assert_eq!(answers.0, Reason::VendorAnswers);
}
