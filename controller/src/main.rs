//! The binary: configuration, telemetry, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use fulfillment_operator::{config::Args, run, telemetry};

fn main() -> ExitCode {
    let args = Args::parse();
    telemetry::start(&args.log_level, args.log_encoding);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(run::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator cannot run");
            ExitCode::from(error.code())
        }
    }
}
