//! What a vendor client is made with, where a test does not say otherwise.

use std::time::Duration;

use fulfillment_operator::{
    lease::Fence,
    metrics::Meter,
    vendor::{Credentials, client::Settings, guard::AddressPolicy},
};

/// For a vendor anywhere, over plain http too, that has a few seconds to answer.
pub(crate) fn settings(url: &str, credentials: Credentials) -> Settings {
    Settings {
        url: url.into(),
        credentials,
        ca: None,
        certificate: None,
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(3),
        addresses: anywhere(),
        fresh_creates: false,
        dialect: None,
        products: Vec::new(),
        fence: Fence::open(),
        meter: Meter::default(),
    }
}

/// Every address, and plain http.
pub(crate) fn anywhere() -> AddressPolicy {
    AddressPolicy {
        networks: Vec::new(),
        insecure: true,
    }
}
