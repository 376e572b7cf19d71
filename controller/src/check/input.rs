//! The YAML that says what to check: a connection and its Secrets, and a Subscription for the order.
//! Whatever is wrong with it is said with the file, the document, the field and the remedy.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    sync::Arc,
};

use fulfillment_crds::{
    Call, ClusterVendorConnection, LimitValue, Parameter, Scope, Subscription, SubscriptionSpec,
    TierConfiguration, TierConfigurationSpec, Tiers, VendorConnection, VendorConnectionSpec,
    cluster_vendor_connection_crd, subscription_crd, tier_configuration_crd, vendor_connection_crd,
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{bench::Clients, fields::misfit, parties::Said};
use crate::{
    config::CheckArgs,
    credentials::{self, Secrets, secret_names},
    inputs::{self, Inputs},
    lease::Fence,
    link,
    metrics::Meter,
    product,
    vendor::{Credentials, Level, Order, VendorClient, guard::AddressPolicy, record::Record},
};

/// What to check, and what to order for that.
#[derive(Debug)]
pub(super) struct Input {
    /// Kind and name of the connection.
    pub(super) connection: String,
    /// The connection.
    pub(super) spec: VendorConnectionSpec,
    secrets: Secrets,
    /// The order, still without a name.
    pub(super) order: Order,
    /// The tiers that are set up first, the highest first.
    pub(super) resellers: Vec<Level>,
}

/// The documents of a file, by kind.
#[derive(Default)]
struct Documents {
    connections: Vec<(String, VendorConnectionSpec)>,
    subscriptions: Vec<(String, SubscriptionSpec)>,
    secrets: Secrets,
    config_maps: BTreeMap<String, ConfigMap>,
    tier_configurations: BTreeMap<String, TierConfigurationSpec>,
    others: Vec<String>,
}

impl Documents {
    /// The values of parameters, out of the Secrets and ConfigMaps of the file.
    fn gather(&self, given: &[Parameter]) -> Result<Inputs, String> {
        let look = |parameter: &Parameter| {
            let source = parameter.value_from.as_ref()?;
            if let Some(key) = &source.secret_key_ref {
                let secret = self.secrets.get(&key.name).and_then(Option::as_ref);
                return Some(inputs::secret_key(secret, key));
            }
            let key = source.config_map_key_ref.as_ref()?;
            Some(inputs::config_key(self.config_maps.get(&key.name), key))
        };
        inputs::gather(given, look).map_err(|why| format!("{why}: add it to the file"))
    }
}

/// Reads the file and the flags.
///
/// # Errors
///
/// Says what is wrong, where, and what to do.
pub(super) fn read(args: &CheckArgs) -> Result<Input, String> {
    let text = text(&args.file).map_err(|error| format!("{}: {error}", args.file))?;
    let input = understand(&text, args);
    input.map_err(|why| format!("{}: {why}", args.file))
}

fn text(file: &str) -> io::Result<String> {
    if file == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

fn understand(text: &str, args: &CheckArgs) -> Result<Input, String> {
    let documents = documents(text)?;
    let (connection, spec) = match documents.connections.as_slice() {
        [one] => one.clone(),
        [] => {
            return Err(format!(
                "there is no VendorConnection and no ClusterVendorConnection: add one (found: {})",
                listed(&documents.others)
            ));
        }
        more => {
            let names: Vec<String> = more.iter().map(|(name, _)| name.clone()).collect();
            return Err(format!(
                "there are {} connections ({}): leave the one to check",
                more.len(),
                listed(&names)
            ));
        }
    };
    for name in secret_names(&spec) {
        if !documents.secrets.contains_key(name) {
            return Err(format!(
                "{connection}: Secret {name} does not exist: add it to the file, a document of kind Secret with stringData"
            ));
        }
    }
    let (order, resellers) = order(&documents, &connection, &spec, args)?;
    Ok(Input {
        connection,
        spec,
        secrets: documents.secrets,
        order,
        resellers,
    })
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".into(),
        names => names.join(", "),
    }
}

fn documents(text: &str) -> Result<Documents, String> {
    let mut documents = Documents::default();
    for (number, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let at = format!("document {}", number + 1);
        let value = Value::deserialize(document).map_err(|error| format!("{at}: {error}"))?;
        if !value.is_null() {
            sort(&mut documents, &at, value)?;
        }
    }
    Ok(documents)
}

fn sort(documents: &mut Documents, at: &str, value: Value) -> Result<(), String> {
    let word = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let Some(kind) = word("/kind") else {
        return Err(format!(
            "{at}: kind is missing: this is no Kubernetes object"
        ));
    };
    let Some(name) = word("/metadata/name") else {
        return Err(format!("{at} ({kind}): metadata.name is missing"));
    };
    let at = format!("{at} ({kind} {name})");
    let twice = || format!("{at}: there is another {kind} of this name: leave one of them");
    match kind.as_str() {
        "VendorConnection" => {
            let object: VendorConnection = decode(&at, value, &vendor_connection_crd())?;
            let connection = (format!("{kind} {name}"), object.spec);
            documents.connections.push(connection);
        }
        "ClusterVendorConnection" => {
            let crd = cluster_vendor_connection_crd();
            let object: ClusterVendorConnection = decode(&at, value, &crd)?;
            let connection = (format!("{kind} {name}"), object.spec.connection);
            documents.connections.push(connection);
        }
        "Subscription" => {
            let object: Subscription = decode(&at, value, &subscription_crd())?;
            documents.subscriptions.push((name, object.spec));
        }
        "TierConfiguration" => {
            let object: TierConfiguration = decode(&at, value, &tier_configuration_crd())?;
            documents.tier_configurations.insert(name, object.spec);
        }
        "Secret" => {
            let secret = secret(&at, value)?;
            if documents.secrets.insert(name, Some(secret)).is_some() {
                return Err(twice());
            }
        }
        "ConfigMap" => {
            let map = typed(&at, value)?;
            if documents.config_maps.insert(name, map).is_some() {
                return Err(twice());
            }
        }
        _ => documents.others.push(format!("{kind} {name}")),
    }
    Ok(())
}

/// An object of ours: by its published schema first, which knows the fields that there are.
fn decode<T: DeserializeOwned>(
    at: &str,
    value: Value,
    crd: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
) -> Result<T, String> {
    let crd = serde_json::to_value(crd).map_err(|error| error.to_string())?;
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    let spec = value.get("spec").cloned().unwrap_or_default();
    if let Some(why) = schema.and_then(|schema| misfit("spec", &spec, schema)) {
        return Err(format!("{at}: {why}"));
    }
    typed(at, value)
}

fn typed<T: DeserializeOwned>(at: &str, value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| format!("{at}: {}: {}", error.path(), error.inner()))
}

/// A Secret, with its stringData as the API server would have it. No error repeats a value.
fn secret(at: &str, mut value: Value) -> Result<Secret, String> {
    for (part, remedy) in [
        ("stringData", "must be text: put it in quotes"),
        ("data", "must be base64: or put it as it is into stringData"),
    ] {
        let entries = value.get(part).and_then(Value::as_object);
        for (key, value) in entries.into_iter().flatten() {
            let text = value.as_str();
            let fits = match part {
                "data" => text.is_some_and(|t| data_encoding::BASE64.decode(t.as_bytes()).is_ok()),
                _ => text.is_some(),
            };
            if !fits {
                return Err(format!("{at}: {part}.{key} {remedy}"));
            }
        }
    }
    let plain = value.get_mut("stringData").map(Value::take);
    let mut secret: Secret = serde_json::from_value(value)
        .map_err(|_| format!("{at}: this is no Secret: it has data or stringData, by key"))?;
    let plain: BTreeMap<String, String> = match plain {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(plain) => serde_json::from_value(plain)
            .map_err(|_| format!("{at}: stringData must have a text for each key"))?,
    };
    let data = secret.data.get_or_insert_default();
    for (key, text) in plain {
        data.insert(key, ByteString(text.into_bytes()));
    }
    Ok(secret)
}

/// The order that the Subscription and the flags describe.
fn order(
    documents: &Documents,
    connection: &str,
    spec: &VendorConnectionSpec,
    args: &CheckArgs,
) -> Result<(Order, Vec<Level>), String> {
    let subscription = match documents.subscriptions.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        more => {
            let names: Vec<String> = more.iter().map(|(name, _)| name.clone()).collect();
            return Err(format!(
                "there are {} Subscriptions ({}): leave the one to order",
                more.len(),
                listed(&names)
            ));
        }
    };
    let mut order = Order::default();
    let mut at = "the order".to_owned();
    let (mut given, mut tiers) = (Vec::new(), Tiers::default());
    if let Some((name, subscription)) = subscription {
        at = format!("Subscription {name}");
        let reference = &subscription.connection_ref;
        let named = format!("{} {}", reference.kind.as_str(), reference.name);
        if named != connection {
            return Err(format!(
                "{at}: spec.connectionRef names {named}, and the file holds {connection}: name that"
            ));
        }
        order.product = subscription.product;
        order.limits = subscription.limits;
        given = subscription.parameters;
        tiers = subscription.tiers;
    }
    if let Some(product) = &args.product {
        order.product.clone_from(product);
    }
    for (name, value) in &args.limits {
        order.limits.insert(name.clone(), LimitValue::parse(value));
    }
    if order.product.is_empty() {
        return Err("there is nothing to order: add a Subscription, or --product".into());
    }
    let product = spec.products.iter().find(|p| p.name == order.product);
    let mut inputs = documents
        .gather(&given)
        .map_err(|why| format!("{at}: {why}"))?;
    if let Some(product) = product {
        let scope = Scope::Subscription;
        product::complete(product, scope, &mut inputs);
        let limits = &order.limits;
        let errors = product::errors(product, scope, limits, &given, &inputs, |_, _| None);
        if let Some(error) = errors.first() {
            return Err(format!("{at}: {} {}", error.name, error.message));
        }
    }
    let said = Said {
        configurations: &documents.tier_configurations,
        product,
        gather: |given: &[Parameter]| documents.gather(given),
    };
    let parties = said.parties(&tiers).map_err(|why| format!("{at}: {why}"))?;
    let Inputs {
        values,
        structured,
        secrets,
    } = inputs;
    order.parameters = values;
    order.structured = structured;
    order.secrets = [secrets, parties.secrets].concat();
    order.tiers = parties.tiers;
    Ok((order, parties.set_up))
}

impl Input {
    /// The ways to the vendor that the connection describes.
    ///
    /// # Errors
    ///
    /// Names the field of the connection, or the Secret and its key, that cannot be used.
    pub(super) fn clients(
        &self,
        addresses: &AddressPolicy,
        record: &Record,
    ) -> Result<Clients, String> {
        let stranger = self.spec.auth.is_some() || self.certificate();
        Ok(Clients {
            usual: self.client(addresses, record, Way::Usual)?,
            other_key: self.client(addresses, record, Way::OtherKey)?,
            stranger: stranger
                .then(|| self.client(addresses, record, Way::Stranger))
                .transpose()?,
        })
    }

    fn certificate(&self) -> bool {
        let tls = self.spec.tls.as_ref();
        tls.is_some_and(|tls| tls.client_certificate_ref.is_some())
    }

    fn client(
        &self,
        addresses: &AddressPolicy,
        record: &Record,
        way: Way,
    ) -> Result<VendorClient, String> {
        let mut keys = credentials::keys(&self.spec, &self.secrets, addresses)?;
        if let Way::Stranger = way {
            // Nobody's account is locked by a name that nobody has.
            let nobody = || SecretString::from(super::order::name().unwrap_or_default());
            keys.certificate = None;
            keys.credentials = match keys.credentials {
                Credentials::None => Credentials::None,
                Credentials::Bearer(_) | Credentials::OAuth2(_) => Credentials::Bearer(nobody()),
                Credentials::Basic(..) => Credentials::Basic("check-vendor".into(), nobody()),
                Credentials::Header(header, _) => Credentials::Header(header, nobody()),
            };
        }
        // Nobody reads them here: the report counts for itself.
        let meter = Meter::new(Arc::default(), self.connection.clone());
        let (addresses, fence) = (addresses.clone(), Fence::open());
        let mut settings = link::settings(&self.spec, keys, addresses, fence, meter);
        if let Way::OtherKey = way {
            let dialect = settings.dialect.get_or_insert_default();
            let create = dialect.create.get_or_insert_with(Call::default);
            let key = r#"subscription.externalId + "-other""#;
            create
                .headers
                .retain(|name, _| !name.eq_ignore_ascii_case("Idempotency-Key"));
            create.headers.insert("Idempotency-Key".into(), key.into());
        }
        let client = VendorClient::new(&settings).map_err(|why| why.to_string())?;
        Ok(client.recorded(record.clone()))
    }
}

/// How a client differs from the operator's.
#[derive(Clone, Copy, Debug)]
enum Way {
    Usual,
    OtherKey,
    Stranger,
}
