//! The vendor's tenant API: what can be asked and answered, whatever the transport.

mod auth;
pub mod budget;
pub mod certificate;
pub mod client;
pub mod deletes;
pub mod dialect;
pub mod error;
pub mod guard;
mod last_look;
pub mod oauth;
pub mod record;
pub mod text;
mod transfer;
pub mod vanish;
pub mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fulfillment_crds::{Account, Limits, ParameterError};
use secrecy::SecretString;
use serde_json::Value;

use crate::identity::InstallationKey;

pub use auth::Credentials;
pub use client::VendorClient;
pub use error::{Class, Effect, VendorError};

/// A tenant as the vendor shows it.
#[derive(Clone, Debug, Default)]
pub struct Tenant {
    /// The vendor's id.
    pub id: String,
    /// The name we gave it, where the vendor repeats it.
    pub external_id: Option<String>,
    /// Its status.
    pub status: TenantStatus,
    /// Its limits, where the vendor reports them.
    pub limits: Option<Limits>,
    /// What it gave: activation links and the like, without the sensitive ones.
    pub parameters: BTreeMap<String, String>,
    /// The sensitive ones: never in status, logs or events.
    pub sensitive: BTreeMap<String, SecretString>,
    /// Those that cannot be shown as they were given, as they were.
    pub given: BTreeMap<String, SecretString>,
    /// The current fulfillment request at the vendor, where it tells.
    pub request: Option<Fulfillment>,
    /// The vendor's token of an operation that is not done, where it gives one.
    pub operation: Option<String>,
}

impl Tenant {
    /// The names of what it gave that is neither shown nor kept in secret: it is too long.
    pub fn left_out(&self) -> Vec<String> {
        let names = self.given.keys();
        let lost = names.filter(|name| {
            !self.parameters.contains_key(*name) && !self.sensitive.contains_key(*name)
        });
        lost.cloned().collect()
    }

    /// Whether it is there: neither gone nor never come to be. What it says that we do not know
    /// counts as there.
    pub fn is_live(&self) -> bool {
        match self.status {
            TenantStatus::Terminated | TenantStatus::Failed => false,
            TenantStatus::Pending
            | TenantStatus::Active
            | TenantStatus::Suspended
            | TenantStatus::Unknown => true,
        }
    }
}

/// The status of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TenantStatus {
    /// Not decided.
    Pending,
    /// It works.
    Active,
    /// It is disabled.
    Suspended,
    /// It is gone, and still shown.
    Terminated,
    /// It never came to be.
    Failed,
    /// A word we do not know, or none.
    #[default]
    Unknown,
}

/// A fulfillment request as the vendor shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fulfillment {
    /// Where it stands.
    pub status: FulfillmentStatus,
    /// The vendor's words, cleaned.
    pub reason: String,
    /// What it says is wrong with single parameters.
    pub parameter_errors: Vec<ParameterError>,
}

/// Where the vendor says a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FulfillmentStatus {
    /// Not decided.
    Pending,
    /// It waits for input.
    Inquiring,
    /// Done.
    Approved,
    /// Refused.
    Failed,
    /// A word we do not know.
    Unknown,
}

/// What the vendor answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it said.
    pub said: Said,
    /// When it wants to be asked again, capped at five minutes.
    pub retry_after: Option<Duration>,
    /// It repeats what it answered to the same key before: what it says of the tenant was so then.
    pub replayed: bool,
}

/// What a usable answer said.
#[derive(Clone, Debug)]
pub enum Said {
    /// Done, and this is the tenant.
    Tenant(Box<Tenant>),
    /// Done, without a body.
    Done,
    /// 202: taken, not done; with the tenant where the vendor shows it.
    Accepted(Option<Box<Tenant>>),
    /// 409 to a create: there is one already; with the tenant where the vendor shows it.
    Exists(Option<Box<Tenant>>),
    /// 404 or 410: there is none.
    Absent,
    /// To a lookup: every tenant of the name, in the vendor's order; none is an answer too.
    Found(Vec<Tenant>),
}

impl Said {
    /// Every tenant it shows.
    pub fn tenants(&mut self) -> &mut [Tenant] {
        match self {
            Self::Tenant(tenant) | Self::Accepted(Some(tenant)) | Self::Exists(Some(tenant)) => {
                std::slice::from_mut(tenant)
            }
            Self::Found(tenants) => tenants,
            Self::Done | Self::Accepted(None) | Self::Exists(None) | Self::Absent => &mut [],
        }
    }
}

/// Who stands between the vendor and the user of a subscription, as an order carries it.
#[derive(Clone, Debug, Default)]
pub struct Party {
    /// Who it is.
    pub account: Account,
    /// What was agreed on, values resolved.
    pub parameters: BTreeMap<String, SecretString>,
    /// The names of those whose value is a JSON object.
    pub structured: BTreeSet<String>,
    /// The vendor's id of its own tenant, where it has one.
    pub tenant_id: Option<String>,
}

impl From<Account> for Party {
    fn from(account: Account) -> Self {
        Self {
            account,
            ..Self::default()
        }
    }
}

/// What a create or a change carries.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The name the vendor should know it by.
    pub external_id: String,
    /// The product.
    pub product: String,
    /// Where the vendor may call back.
    pub callback_url: Option<String>,
    /// The declared limits.
    pub limits: Limits,
    /// The parameters, values resolved.
    pub parameters: BTreeMap<String, SecretString>,
    /// The names of those whose value is a JSON object.
    pub structured: BTreeSet<String>,
    /// Who stands between the vendor and the user: customer, tier1, tier2.
    pub tiers: BTreeMap<&'static str, Party>,
    /// Those are not agreed on as they stand here: a change leaves them out, and nothing is bought.
    pub tiers_withheld: bool,
    /// The order is of a reseller's own tenant: which of the tiers that is.
    pub tier: Option<Level>,
    /// Those of the values that are kept in Secrets: masked in whatever the vendor says about this
    /// subscription, in every call.
    pub secrets: Vec<SecretString>,
}

impl Order {
    /// What of it stands in specs for all to see, though a secret may be part of it: names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let names = self.limits.keys().chain(self.parameters.keys());
        names.chain([&self.external_id])
    }

    /// A keyed hash of everything whose change is sent to the vendor beside the limits: parameters
    /// and, behind a dot, tiers. None where there is neither.
    pub fn inputs_hash(&self, key: &InstallationKey) -> Option<String> {
        let parameters = key.inputs_hash(&self.parameters);
        if self.tiers.is_empty() {
            return parameters;
        }
        let tiers = Value::Object(wire::tiers(&self.tiers)).to_string();
        let tiers = key.inputs_hash(&[("tiers".to_owned(), tiers.into())].into());
        Some(joined(parameters.as_deref(), tiers.as_deref()))
    }

    /// The same with the tiers as they were when `known` was the hash.
    pub fn inputs_hash_under(&self, key: &InstallationKey, known: Option<&str>) -> Option<String> {
        let parameters = key.inputs_hash(&self.parameters);
        match known.and_then(|known| known.split_once('.')) {
            Some((_, tiers)) => Some(joined(parameters.as_deref(), Some(tiers))),
            None => parameters,
        }
    }
}

/// Of such a hash, what is of the parameters.
pub fn of_parameters(hash: &str) -> &str {
    hash.split('.').next().unwrap_or_default()
}

fn joined(parameters: Option<&str>, tiers: Option<&str>) -> String {
    let (parameters, tiers) = (parameters.unwrap_or_default(), tiers.unwrap_or_default());
    format!("{parameters}.{tiers}")
}

/// How far a reseller is from the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Who sells to the customer.
    Tier1,
    /// Who sells to that one.
    Tier2,
}

impl Level {
    /// The tier of this level, as in `spec.level`.
    pub fn new(level: i64) -> Self {
        if level == 2 { Self::Tier2 } else { Self::Tier1 }
    }

    /// The word in orders.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tier1 => "tier1",
            Self::Tier2 => "tier2",
        }
    }

    /// The number in `spec.level`.
    pub fn number(self) -> i64 {
        match self {
            Self::Tier1 => 1,
            Self::Tier2 => 2,
        }
    }

    /// Who is above.
    pub fn above(self) -> Option<Self> {
        match self {
            Self::Tier1 => Some(Self::Tier2),
            Self::Tier2 => None,
        }
    }
}

/// A call to the tenant API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `POST /tenant`
    Create,
    /// `GET /tenant/{id}`
    Get,
    /// How a request under way goes on, where the vendor's dialect has a call for it.
    Poll,
    /// `GET /tenant?externalId=…`
    Lookup,
    /// `PUT /tenant/{id}`
    Change,
    /// `PUT /tenant/{id}/disable`
    Disable,
    /// `PUT /tenant/{id}/enable`
    Enable,
    /// `DELETE /tenant/{id}`
    Delete,
}

impl Operation {
    /// The word in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::Poll => "poll",
            Self::Lookup => "lookup",
            Self::Change => "change",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Delete => "delete",
        }
    }

    /// Whether it changes nothing at the vendor.
    pub fn is_read(self) -> bool {
        match self {
            Self::Get | Self::Poll | Self::Lookup => true,
            Self::Create | Self::Change | Self::Disable | Self::Enable | Self::Delete => false,
        }
    }
}
