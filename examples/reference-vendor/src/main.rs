//! The reference vendor as a program.

use clap::Parser;
use http::HeaderName;
use reference_vendor::{
    Auth, Behavior, CallbackProof, Callbacks, Config, Defect, Dialect, Identity, Tls,
};
use std::{
    error::Error,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};

/// A small SaaS vendor that implements the tenant API completely.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "VENDOR_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The database file. Without one everything is kept in memory.
    #[arg(long, env = "VENDOR_DATABASE", value_name = "FILE")]
    database: Option<PathBuf>,
    /// Wait for the disk at each commit, so that not even a power cut loses anything.
    #[arg(long, env = "VENDOR_FSYNC")]
    fsync: bool,
    /// Where browsers reach the vendor; by default where it listens.
    #[arg(long, env = "VENDOR_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// The bearer token that callers must send.
    #[arg(long, env = "VENDOR_TOKEN", hide_env_values = true, group = "auth")]
    token: Option<String>,
    /// The user and password that callers must send.
    #[arg(
        long,
        env = "VENDOR_BASIC",
        hide_env_values = true,
        group = "auth",
        value_name = "USER:PASSWORD",
        value_parser = basic
    )]
    basic: Option<Auth>,
    /// The header that callers must send.
    #[arg(
        long,
        env = "VENDOR_API_KEY",
        hide_env_values = true,
        group = "auth",
        value_name = "HEADER=KEY",
        value_parser = api_key
    )]
    api_key: Option<Auth>,
    /// The OAuth2 client that may have tokens from POST /oauth2/token, which callers must send.
    #[arg(
        long,
        env = "VENDOR_OAUTH2",
        hide_env_values = true,
        group = "auth",
        value_name = "CLIENT:SECRET",
        value_parser = oauth2
    )]
    oauth2: Option<Auth>,
    /// What the tenant API looks like on the wire.
    #[arg(long, env = "VENDOR_DIALECT", value_enum, default_value = "canonical")]
    dialect: Dialect,
    /// What the vendor offers so that a repeated create makes no second tenant; by default what
    /// goes with its dialect.
    #[arg(long, env = "VENDOR_IDENTITY", value_enum)]
    identity: Option<Identity>,
    /// How the vendor behaves at first: a JSON file, as `/_vendor/behavior` shows it.
    #[arg(long, env = "VENDOR_BEHAVIOR", value_name = "FILE")]
    behavior: Option<PathBuf>,
    /// A promise to break, to try a caller's checks against; repeat it for more.
    #[arg(
        long = "defect",
        env = "VENDOR_DEFECT",
        value_enum,
        value_name = "DEFECT",
        value_delimiter = ','
    )]
    defects: Vec<Defect>,
    /// Call back where an order says so, and sign with this key (whsec_ before one in base64).
    #[arg(
        long,
        env = "VENDOR_CALLBACK_SECRET",
        hide_env_values = true,
        value_name = "KEY"
    )]
    callback_secret: Option<String>,
    /// How a callback is proved to be the vendor's.
    #[arg(
        long,
        env = "VENDOR_CALLBACK_PROOF",
        value_enum,
        default_value = "standard-webhooks",
        requires = "callback_secret"
    )]
    callback_proof: CallbackProof,
    /// Serve HTTPS with this certificate chain (PEM).
    #[arg(
        long,
        env = "VENDOR_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(
        long,
        env = "VENDOR_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// Ask clients for a certificate of one of these authorities (PEM).
    #[arg(
        long,
        env = "VENDOR_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_client_ca: Option<PathBuf>,
}

fn basic(text: &str) -> Result<Auth, String> {
    let (user, password) = text.split_once(':').ok_or("it must be USER:PASSWORD")?;
    Ok(Auth::Basic {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

fn oauth2(text: &str) -> Result<Auth, String> {
    let (client, secret) = text.split_once(':').ok_or("it must be CLIENT:SECRET")?;
    Ok(Auth::OAuth2 {
        client: client.to_owned(),
        secret: secret.to_owned(),
    })
}

fn api_key(text: &str) -> Result<Auth, String> {
    let (header, key) = text.split_once('=').ok_or("it must be HEADER=KEY")?;
    let header = HeaderName::try_from(header).map_err(|error| error.to_string())?;
    Ok(Auth::ApiKey {
        header,
        key: key.to_owned(),
    })
}

fn behavior(file: &Path) -> Result<Behavior, String> {
    let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn config(arguments: Arguments) -> Result<Config, String> {
    let token = arguments.token.map(Auth::Bearer);
    let tls = arguments.tls_cert.zip(arguments.tls_key);
    Ok(Config {
        listen: arguments.listen,
        database: arguments.database,
        fsync: arguments.fsync,
        public_url: arguments.public_url,
        auth: token
            .or(arguments.basic)
            .or(arguments.api_key)
            .or(arguments.oauth2)
            .unwrap_or_default(),
        identity: arguments
            .identity
            .unwrap_or_else(|| arguments.dialect.identity()),
        dialect: arguments.dialect,
        behavior: arguments
            .behavior
            .as_deref()
            .map(behavior)
            .transpose()?
            .unwrap_or_default(),
        defects: arguments.defects,
        callbacks: arguments.callback_secret.map(|secret| Callbacks {
            proof: arguments.callback_proof,
            secret,
        }),
        tls: tls.map(|(certificates, key)| Tls {
            certificates,
            key,
            client_authorities: arguments.tls_client_ca,
        }),
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference-vendor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    // From before the vendor is ready, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let vendor = reference_vendor::start(config(arguments)?).await?;
    let mut stdout = io::stdout();
    writeln!(stdout, "reference-vendor listening on {}", vendor.url())?;
    stdout.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    vendor.stop().await;
    Ok(())
}
