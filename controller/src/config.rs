//! What the operator is started with: parsed once, validated once. The only reader of flags and of
//! the environment.

mod selector;

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::{lease::Timings, vendor::guard::AddressPolicy};

/// Drives SaaS vendors' tenant APIs until they are as declared in Subscription objects.
#[derive(Clone, Debug, Parser)]
#[command(name = "fulfillment-operator", version)]
pub struct Args {
    /// What to do instead of running the operator.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// A namespace to watch; repeat it for more. Default: all. With it ClusterVendorConnections are
    /// not used.
    #[arg(
        long = "watch-namespace",
        env = "FULFILLMENT_WATCH_NAMESPACE",
        value_delimiter = ',',
        value_parser = namespace
    )]
    pub watch_namespaces: Vec<String>,

    /// Only Subscriptions with these labels, for example tier=gold.
    #[arg(long, env = "FULFILLMENT_WATCH_LABEL_SELECTOR", value_parser = selector::selector)]
    pub watch_label_selector: Option<String>,

    /// How many Subscriptions call vendors at the same time, over all connections.
    #[arg(long, env = "FULFILLMENT_CONCURRENT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrent: u16,

    /// Where /metrics is served.
    #[arg(long, env = "FULFILLMENT_METRICS_ADDR", default_value = ":8080", value_parser = address)]
    pub metrics_addr: SocketAddr,

    /// Where /healthz and /readyz are served.
    #[arg(long, env = "FULFILLMENT_HEALTH_ADDR", default_value = ":9440", value_parser = address)]
    pub health_addr: SocketAddr,

    /// Where callbacks are served, in plain HTTP: end TLS before it. Only with --callback-url.
    #[arg(long, env = "FULFILLMENT_CALLBACK_ADDR", default_value = ":9443", value_parser = address)]
    pub callback_addr: SocketAddr,

    /// The base URL under which vendors reach the callbacks; /callbacks/… is appended. Without it
    /// there are none.
    #[arg(long, env = "FULFILLMENT_CALLBACK_URL", value_parser = base_url)]
    pub callback_url: Option<String>,

    /// By how many percent drift reads vary, so that they do not all come at once.
    #[arg(long, env = "FULFILLMENT_INTERVAL_JITTER_PERCENTAGE", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=90))]
    pub interval_jitter_percentage: u8,

    /// The Secret with the installation key, as namespace/name. Default:
    /// fulfillment-installation-key in the operator's namespace.
    #[arg(long, env = "FULFILLMENT_INSTALLATION_KEY_SECRET", value_parser = secret_name)]
    pub installation_key_secret: Option<(String, String)>,

    /// Make the installation key where there is none and no Subscription depends on one. With false a
    /// missing key is waited for: for a cluster that is rebuilt, where a new one would find no tenant.
    #[arg(long, env = "FULFILLMENT_CREATE_INSTALLATION_KEY", default_value_t = true, action = clap::ArgAction::Set)]
    pub create_installation_key: bool,

    /// Where the Secrets of ClusterVendorConnections are. Default: the operator's namespace.
    #[arg(long, env = "FULFILLMENT_CLUSTER_RESOURCE_NAMESPACE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub cluster_resource_namespace: Option<String>,

    /// A private network vendors may be in, as CIDR; repeat it for more. Metadata and loopback
    /// addresses stay refused.
    #[arg(
        long = "allow-vendor-network",
        env = "FULFILLMENT_ALLOW_VENDOR_NETWORK",
        value_delimiter = ',',
        global = true
    )]
    pub allow_vendor_networks: Vec<IpNet>,

    /// Allow plain http and any address for vendors. For development only.
    #[arg(long, env = "FULFILLMENT_ALLOW_INSECURE_VENDOR_URLS", global = true)]
    pub allow_insecure_vendor_urls: bool,

    /// After this time no earlier create can still take effect at a vendor.
    #[arg(long, env = "FULFILLMENT_SETTLE", default_value = "220s", value_parser = duration)]
    pub settle: Duration,

    /// How long after it was decided a create may still be sent.
    #[arg(long, env = "FULFILLMENT_REQUEST_DEADLINE", default_value = "20s", value_parser = duration)]
    pub request_deadline: Duration,

    /// How long calls under way may take to end when the operator stops; then the lease is released.
    #[arg(long, env = "FULFILLMENT_GRACEFUL_SHUTDOWN_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub graceful_shutdown_timeout: Duration,

    /// Let one replica act, and the others stand by: needed with more than one.
    #[arg(long, env = "FULFILLMENT_ENABLE_LEADER_ELECTION")]
    pub enable_leader_election: bool,

    /// How long a lease that nobody renews still counts.
    #[arg(long, env = "FULFILLMENT_LEADER_ELECTION_LEASE_DURATION", default_value = "15s", value_parser = duration)]
    pub leader_election_lease_duration: Duration,

    /// How long after its last renewal of the lease a leader still acts.
    #[arg(long, env = "FULFILLMENT_LEADER_ELECTION_RENEW_DEADLINE", default_value = "10s", value_parser = duration)]
    pub leader_election_renew_deadline: Duration,

    /// How long between two tries to acquire or renew the lease.
    #[arg(long, env = "FULFILLMENT_LEADER_ELECTION_RETRY_PERIOD", default_value = "2s", value_parser = duration)]
    pub leader_election_retry_period: Duration,

    /// How long a tenant must be missing at its vendor, from a first read to a second, before it is
    /// believed to be gone.
    #[arg(long, env = "FULFILLMENT_MISSING_GRACE", default_value = "2s", value_parser = duration)]
    pub missing_grace: Duration,

    /// How long a deleted Subscription whose create went without an answer is remembered, and looked
    /// for at its vendor.
    #[arg(long, env = "FULFILLMENT_TOMBSTONE_RETENTION", default_value = "24h", value_parser = duration)]
    pub tombstone_retention: Duration,

    /// How often it is looked for.
    #[arg(long, env = "FULFILLMENT_SWEEP_INTERVAL", default_value = "5m", value_parser = duration)]
    pub sweep_interval: Duration,

    /// How much is logged; RUST_LOG wins where it is set.
    #[arg(long, env = "FULFILLMENT_LOG_LEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub log_level: String,

    /// How logs are written.
    #[arg(long, env = "FULFILLMENT_LOG_ENCODING", value_enum, default_value_t = LogEncoding::Json)]
    pub log_encoding: LogEncoding,
}

/// What can be done instead of running the operator.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Checks what a vendor's API can be relied on for, with throw-away tenants: exit code 0 where it
    /// conforms, 1 where it does not, 2 where the input is wrong.
    CheckVendor(CheckArgs),
}

/// What `check-vendor` is started with.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// A YAML file with the connection, its Secrets, and a Subscription to order like; - reads
    /// standard input.
    #[arg(short, long = "filename", value_name = "FILE")]
    pub file: String,

    /// The product to order, where no Subscription says it, or in its place.
    #[arg(long)]
    pub product: Option<String>,

    /// A limit to order, as name=value; repeat it for more.
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit)]
    pub limits: Vec<(String, String)>,

    /// How the report is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// How long a read may lag behind before what it shows counts as wrong.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub patience: Duration,

    /// How long the vendor may take to decide one request.
    #[arg(long, default_value = "2m", value_parser = duration)]
    pub decision: Duration,

    /// How many calls may be made, those of the clean-up aside.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_calls: u32,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// JUnit's XML.
    Junit,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogEncoding {
    /// One JSON object a line.
    Json,
    /// For people.
    Console,
}

impl Args {
    /// What is watched: each namespace once, or all of them.
    pub fn watched(&self) -> Vec<Option<String>> {
        let named: BTreeSet<_> = self.watch_namespaces.iter().cloned().map(Some).collect();
        if named.is_empty() {
            vec![None]
        } else {
            named.into_iter().collect()
        }
    }

    /// Which addresses vendors may have.
    pub fn addresses(&self) -> AddressPolicy {
        AddressPolicy {
            networks: self.allow_vendor_networks.clone(),
            insecure: self.allow_insecure_vendor_urls,
        }
    }

    /// The timings of the election, where there is to be one.
    ///
    /// # Errors
    ///
    /// Which flags do not fit together.
    pub fn election(&self) -> Result<Option<Timings>, String> {
        self.enable_leader_election
            .then(|| {
                Timings::new(
                    self.leader_election_lease_duration,
                    self.leader_election_renew_deadline,
                    self.leader_election_retry_period,
                )
            })
            .transpose()
    }

    /// Whether what is remembered of the deleted is looked for at all.
    ///
    /// # Errors
    ///
    /// Which flags do not fit together.
    pub fn sweeps(&self) -> Result<(), String> {
        if self.tombstone_retention > self.sweep_interval {
            return Ok(());
        }
        Err(format!(
            "--tombstone-retention {:?} is not longer than --sweep-interval {:?}: what is deleted would be forgotten before it is looked for; raise the one or lower the other",
            self.tombstone_retention, self.sweep_interval
        ))
    }
}

/// The pod's name, where we run in one.
#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the environment"
)]
pub fn pod_name() -> Option<String> {
    std::env::var("POD_NAME").ok()
}

/// The host's name, as far as it can be told.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "fulfillment-operator".into())
}

/// `:8080`, which is every address of either family, or `127.0.0.1:8080`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') {
        format!("[::]{text}")
    } else {
        text.to_owned()
    };
    full.parse()
        .map_err(|_| format!("{text} is no address: write :8080 or 127.0.0.1:8080"))
}

/// A DNS label, as names of namespaces are.
fn namespace(text: &str) -> Result<String, String> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let good = (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if good {
        Ok(text.into())
    } else {
        Err(format!(
            "{text:?} is no namespace: write team-a, and repeat the flag for more"
        ))
    }
}

fn secret_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.into(), name.into()))
        }
        Some(_) | None => Err(format!("{text} is no namespace/name")),
    }
}

/// An http or https URL without query and fragment; a slash at its end is dropped.
fn base_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).ok();
    let good = url.is_some_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if good {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(format!(
            "{text} is no base URL: write https://fulfillment.example"
        ))
    }
}

/// `seats=5`.
fn limit(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.into(), value.into()))
        }
        Some(_) | None => Err(format!("{text} is no limit: write seats=5")),
    }
}

/// A Go-style duration: 220s, 1m30s.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: fulfillment_crds::Duration = text
        .parse()
        .map_err(|_| format!("{text} is no duration: write 220s or 1m30s"))?;
    if parsed.is_negative() {
        return Err(format!("{text} is negative"));
    }
    Ok(parsed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_parse() {
        let args = Args::parse_from(["fulfillment-operator"]);
        assert_eq!(args.settle, Duration::from_secs(220));
        assert_eq!(args.missing_grace, Duration::from_secs(2));
        assert_eq!(args.tombstone_retention, Duration::from_secs(24 * 3600));
        assert_eq!(args.graceful_shutdown_timeout, Duration::from_secs(30));
        assert_eq!(args.metrics_addr.port(), 8080);
        assert!(args.watch_namespaces.is_empty());
        assert!(args.create_installation_key);
    }

    #[test]
    fn a_namespace_is_watched_once_however_often_it_is_named() {
        let watched = |args: &[&str]| {
            let all = [&["fulfillment-operator"], args].concat();
            Args::parse_from(all).watched()
        };
        assert_eq!(watched(&[]), [None]);
        let twice = watched(&["--watch-namespace=b,a", "--watch-namespace=b"]);
        assert_eq!(twice, ["a", "b"].map(|name| Some(name.to_owned())));
    }

    #[test]
    fn the_times_of_an_election_must_fit_together() {
        let election = |args: &[&str]| {
            let all = [&["fulfillment-operator"], args].concat();
            Args::parse_from(all).election()
        };
        assert_eq!(election(&[]), Ok(None));
        assert_eq!(
            election(&["--leader-election-lease-duration=1s"]),
            Ok(None),
            "without an election they do not matter"
        );
        let default = election(&["--enable-leader-election"]);
        let seconds = Duration::from_secs;
        assert_eq!(
            default,
            Timings::new(seconds(15), seconds(10), seconds(2)).map(Some)
        );
        for (arg, named) in [
            ("--leader-election-lease-duration=10s", "renew-deadline"),
            (
                "--leader-election-lease-duration=1000000h",
                "lease-duration",
            ),
            ("--leader-election-renew-deadline=15s", "lease-duration"),
            ("--leader-election-renew-deadline=2400ms", "retry-period"),
            ("--leader-election-retry-period=9s", "renew-deadline"),
            ("--leader-election-retry-period=0s", "retry-period"),
        ] {
            let why = election(&["--enable-leader-election", arg]).unwrap_err();
            assert!(why.contains(named), "{arg}: {why}");
        }
    }

    #[test]
    fn what_is_remembered_must_be_looked_for() {
        let sweeps = |args: &[&str]| {
            let all = [&["fulfillment-operator"], args].concat();
            Args::parse_from(all).sweeps()
        };
        assert_eq!(sweeps(&[]), Ok(()));
        for arg in ["--tombstone-retention=5m", "--sweep-interval=24h"] {
            let why = sweeps(&[arg]).unwrap_err();
            for named in ["--tombstone-retention", "--sweep-interval"] {
                assert!(why.contains(named), "{arg}: {why}");
            }
        }
    }

    #[test]
    fn wrong_values_name_the_flag_and_the_form() {
        for (arg, hint) in [
            ("--settle=soon", "220s"),
            ("--missing-grace=-1s", "--missing-grace"),
            ("--tombstone-retention=1d", "--tombstone-retention"),
            (
                "--graceful-shutdown-timeout=30",
                "--graceful-shutdown-timeout",
            ),
            ("--metrics-addr=x", ":8080"),
            ("--installation-key-secret=key", "namespace/name"),
            ("--watch-namespace=Team A", "--watch-namespace"),
            ("--watch-namespace=", "team-a"),
            ("--watch-label-selector=a b", "--watch-label-selector"),
            ("--create-installation-key=no", "--create-installation-key"),
            ("--allow-vendor-network=10.0.0.0", "--allow-vendor-network"),
        ] {
            let error = Args::try_parse_from(["fulfillment-operator", arg])
                .unwrap_err()
                .to_string();
            assert!(error.contains(hint), "{arg}: {error}");
        }
    }
}
