//! The YAML that says what to check: a connection and its Secrets, and a Subscription for the order.
//! Whatever is wrong with it is said with the file, the document, the field and the remedy.

use std::{
    io::{self, Read as _},
    sync::Arc,
};

use fulfillment_crds::{
    Call, LimitValue, Parameter, Scope, SubscriptionSpec, VendorConnectionSpec,
};
use secrecy::SecretString;

use super::{
    bench::Clients,
    documents::{Documents, documents},
    parties::Said,
};
use crate::{
    config::CheckArgs,
    credentials::{self, Secrets, secret_names},
    inputs::Inputs,
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
    // Nobody calls back here.
    let called = VendorConnectionSpec {
        callback: None,
        ..spec.clone()
    };
    for name in secret_names(&called) {
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

/// The order that the Subscription and the flags describe.
fn order(
    documents: &Documents,
    connection: &str,
    spec: &VendorConnectionSpec,
    args: &CheckArgs,
) -> Result<(Order, Vec<Level>), String> {
    let subscription = match documents.subscriptions.as_slice() {
        [] => None,
        [one] => Some(one),
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
    let mut given = &Vec::new();
    if let Some((name, subscription)) = subscription {
        at = format!("Subscription {name}");
        let reference = &subscription.connection_ref;
        let named = format!("{} {}", reference.kind.as_str(), reference.name);
        if named != connection {
            return Err(format!(
                "{at}: spec.connectionRef names {named}, and the file holds {connection}: name that"
            ));
        }
        order.product.clone_from(&subscription.product);
        order.limits.clone_from(&subscription.limits);
        given = &subscription.parameters;
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
        .gather(given)
        .map_err(|why| format!("{at}: {why}"))?;
    if let Some(product) = product {
        if let Some(wrong) = product::unfit(product).next() {
            return Err(format!(
                "{connection}: spec.products: product {}: {}: {}",
                product.name, wrong.name, wrong.message
            ));
        }
        let scope = Scope::Subscription;
        product::complete(product, scope, &mut inputs);
        let limits = &order.limits;
        let mut errors = product::errors(product, scope, limits, given, &inputs, |_, _| None);
        if let Some((_, subscription)) = subscription {
            product::untold(product, &subscription.tiers, &mut errors);
        }
        if let Some(error) = errors.first() {
            return Err(format!("{at}: {} {}", error.name, error.message));
        }
    }
    let parties = subscription.map(|(_, subscription)| {
        let said = Said {
            order: &SubscriptionSpec {
                product: order.product.clone(),
                ..subscription.clone()
            },
            configurations: &documents.tier_configurations,
            product,
            gather: |given: &[Parameter]| documents.gather(given),
        };
        said.parties().map_err(|why| format!("{at}: {why}"))
    });
    let parties = parties.transpose()?.unwrap_or_default();
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
