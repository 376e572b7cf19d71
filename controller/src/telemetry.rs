//! Logs: structured, to standard error, one line an event.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogEncoding;

/// Starts logging. `RUST_LOG` wins over the level where it is set.
pub fn start(level: &str, encoding: LogEncoding) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,fulfillment_operator={level}")));
    let registry = tracing_subscriber::registry().with(filter);
    match encoding {
        LogEncoding::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr),
            )
            .init(),
        LogEncoding::Console => registry
            .with(
                fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(std::io::stderr().is_terminal()),
            )
            .init(),
    }
}
