//! What the tests share: a vendor to talk to, and how to wait for something.

use reference_vendor::{Config, Running};
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap, redirect};
use serde_json::{Value, json};
use std::{fmt, future::Future, time::Duration};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn client() -> Client {
    builder().build().unwrap()
}

pub(crate) fn builder() -> reqwest::ClientBuilder {
    // The first test wins, all want the same.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(PATIENCE)
        .no_proxy()
}

/// A vendor to talk to.
pub(crate) struct Vendor {
    pub(crate) url: String,
    pub(crate) http: Client,
    pub(crate) running: Option<Running>,
}

impl Vendor {
    /// One in this process, in memory.
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    /// One in this process.
    pub(crate) async fn with(config: Config) -> Self {
        let running = reference_vendor::start(config).await.unwrap();
        Self {
            running: Some(running),
            ..Self::at("")
        }
        .refresh()
    }

    /// One in this process that behaves like this, otherwise as usual.
    pub(crate) async fn behaving(behavior: Value) -> Self {
        let vendor = Self::start().await;
        vendor.behave(behavior).await;
        vendor
    }

    /// One that runs somewhere.
    pub(crate) fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            http: client(),
            running: None,
        }
    }

    fn refresh(mut self) -> Self {
        if let Some(running) = &self.running {
            self.url = running.url().to_owned();
        }
        self
    }

    pub(crate) async fn stop(self) {
        if let Some(running) = self.running {
            running.stop().await;
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(
            Method::from_bytes(method.as_bytes()).unwrap(),
            self.url.clone() + path,
        )
    }

    pub(crate) async fn call(&self, method: &str, path: &str) -> Answer {
        Answer::of(self.request(method, path)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        Answer::of(self.request(method, path).json(&body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).await
    }

    /// Makes a tenant and answers its path.
    pub(crate) async fn create(&self, external_id: &str) -> String {
        let order = json!({"externalId": external_id, "limits": {"seats": 50}});
        let created = self.send("POST", "/tenant", order).await;
        assert!([201, 202].contains(&created.status), "{created}");
        format!("/tenant/{}", created.json()["id"].as_str().unwrap())
    }

    pub(crate) async fn behave(&self, patch: Value) {
        let answer = self.send("PATCH", "/_vendor/behavior", patch).await;
        assert_eq!(answer.status, 200, "{answer}");
    }

    /// Adds a fault for the next call of this method.
    pub(crate) async fn fault(&self, method: &str, fault: Value) {
        let rule = json!({"method": method, "path": "/tenant*", "fault": fault});
        let answer = self.send("POST", "/_vendor/faults", rule).await;
        assert_eq!(answer.status, 201, "{answer}");
    }

    pub(crate) async fn decide(&self, path: &str, decision: Value) -> Answer {
        let id = path.strip_prefix("/tenant/").unwrap();
        self.send("POST", &format!("/_vendor/tenants/{id}/decide"), decision)
            .await
    }

    pub(crate) async fn counts(&self) -> Value {
        self.get("/_vendor/counts").await.json()
    }

    pub(crate) async fn calls(&self) -> Vec<Value> {
        self.get("/_vendor/calls")
            .await
            .json()
            .as_array()
            .unwrap()
            .clone()
    }

    pub(crate) async fn last_call(&self) -> Value {
        self.calls().await.pop().unwrap()
    }
}

/// An answer read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::try_of(request).await.unwrap()
    }

    pub(crate) async fn try_of(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Ok(Self {
            status,
            headers,
            body: response.text().await?,
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {self}"))
            .to_str()
            .unwrap()
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }

    /// `status` and `request.status` of the tenant.
    pub(crate) fn statuses(&self) -> (String, String) {
        let json = self.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&json["status"]), text(&json["request"]["status"]))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, self.body)
    }
}

/// Tries until it gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    mut attempt: impl FnMut() -> F,
) -> T {
    let tries = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, tries)
        .await
        .expect("it never came to this")
}

/// Waits until the tenant is in these two statuses.
pub(crate) async fn reach(vendor: &Vendor, path: &str, status: &str, request: &str) -> Answer {
    let wanted = (status.to_owned(), request.to_owned());
    eventually(async || {
        let answer = vendor.get(path).await;
        (answer.status == 200 && answer.statuses() == wanted).then_some(answer)
    })
    .await
}
