//! Callbacks: where an order gave a `callbackUrl`, the vendor says there that a request is decided. The
//! body is a hint; whoever gets it reads the tenant. A callback that is not taken is sent again.

use crate::{
    tenant::{Request, RequestStatus, Tenant, TenantStatus},
    vendor::Vendor,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use jiff::Timestamp;
use serde_json::json;
use sha2::Sha256;
use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often decisions are looked for.
const TICK: Duration = Duration::from_millis(100);
/// How long a callback may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest wait before a callback is sent again.
const LONGEST: Duration = Duration::from_secs(60);

/// How the vendor proves that a callback is its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CallbackProof {
    /// Standard Webhooks: an HMAC in the header `webhook-signature`.
    #[default]
    StandardWebhooks,
    /// A bearer JWT by HS256.
    Jwt,
    /// Nothing but the URL.
    None,
}

/// That the vendor calls back, and how.
#[derive(Clone)]
pub struct Callbacks {
    /// How it proves who it is.
    pub proof: CallbackProof,
    /// The key it signs with; `whsec_` before a key in base64.
    pub secret: String,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("proof", &self.proof)
            .finish_non_exhaustive()
    }
}

impl Callbacks {
    fn key(&self) -> Vec<u8> {
        let encoded = self.secret.strip_prefix("whsec_");
        encoded
            .and_then(|key| BASE64.decode(key.as_bytes()).ok())
            .unwrap_or_else(|| self.secret.as_bytes().to_vec())
    }

    fn tag(&self, signed: &[u8]) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key()).expect("any length");
        mac.update(signed);
        mac.finalize().into_bytes().to_vec()
    }

    /// The headers that prove a body to be ours.
    fn headers(&self, id: &str, body: &str) -> Vec<(&'static str, String)> {
        let now = Timestamp::now().as_second();
        match self.proof {
            CallbackProof::None => Vec::new(),
            CallbackProof::StandardWebhooks => {
                let tag = self.tag(format!("{id}.{now}.{body}").as_bytes());
                vec![
                    ("webhook-id", id.to_owned()),
                    ("webhook-timestamp", now.to_string()),
                    ("webhook-signature", format!("v1,{}", BASE64.encode(&tag))),
                ]
            }
            CallbackProof::Jwt => {
                let part =
                    |value: serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
                let header = part(json!({"alg": "HS256", "typ": "JWT"}));
                let claims = part(json!({"iat": now, "exp": now + 60, "webhook_id": id}));
                let signed = format!("{header}.{claims}");
                let tag = BASE64URL_NOPAD.encode(&self.tag(signed.as_bytes()));
                vec![(AUTHORIZATION.as_str(), format!("Bearer {signed}.{tag}"))]
            }
        }
    }
}

/// What was last said of a tenant, and what became of it.
struct Told {
    state: (Request, TenantStatus),
    failures: u32,
    again: Option<Instant>,
}

/// Calls back until the vendor stops.
pub(crate) async fn run(vendor: Arc<Vendor>, callbacks: Callbacks) {
    // With the same TLS implementation as the server; a second call would only say it is set.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "no callbacks are sent");
            return;
        }
    };
    let mut told: HashMap<String, Told> = HashMap::new();
    loop {
        tokio::time::sleep(TICK).await;
        let Ok(tenants) = vendor
            .store
            .read(|tables| tables.tenants(Timestamp::now()))
            .await
        else {
            continue;
        };
        for tenant in tenants {
            let Some(url) = &tenant.callback_url else {
                continue;
            };
            if !is_news(&tenant, told.get(&tenant.id)) {
                continue;
            }
            let taken = send(&client, &callbacks, url, &tenant).await;
            note(&mut told, &tenant, taken);
        }
    }
}

fn is_news(tenant: &Tenant, told: Option<&Told>) -> bool {
    let state = (tenant.request.clone(), tenant.status);
    match told {
        None => tenant.request.status != RequestStatus::Pending,
        Some(told) if told.state == state => {
            told.again.is_some_and(|again| again <= Instant::now())
        }
        Some(_) => true,
    }
}

fn note(told: &mut HashMap<String, Told>, tenant: &Tenant, taken: bool) {
    let before = told.get(&tenant.id).map_or(0, |told| told.failures);
    let failures = if taken { 0 } else { before + 1 };
    let wait = Duration::from_millis(500).saturating_mul(1 << failures.min(10));
    told.insert(
        tenant.id.clone(),
        Told {
            state: (tenant.request.clone(), tenant.status),
            failures,
            again: (!taken).then(|| Instant::now() + wait.min(LONGEST)),
        },
    );
}

async fn send(client: &reqwest::Client, callbacks: &Callbacks, url: &str, tenant: &Tenant) -> bool {
    let now = Timestamp::now();
    let id = format!("msg_{}_{}", tenant.id, now.as_millisecond());
    let body = json!({
        "type": "request.changed",
        "timestamp": now.to_string(),
        "data": {"tenantId": tenant.id, "status": tenant.request.status},
    })
    .to_string();
    let mut request = client.post(url).header(CONTENT_TYPE, "application/json");
    for (name, value) in callbacks.headers(&id, &body) {
        request = request.header(name, value);
    }
    match request.body(body).send().await {
        Ok(answer) => {
            tracing::info!(tenant = tenant.id, status = %answer.status(), "called back");
            // Who is gone needs no more of it.
            answer.status().is_success() || answer.status() == reqwest::StatusCode::GONE
        }
        Err(error) => {
            tracing::info!(tenant = tenant.id, %error, "the callback did not arrive");
            false
        }
    }
}
