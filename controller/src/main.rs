//! The binary: configuration, telemetry, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use fulfillment_operator::{
    check,
    config::{Args, Command, LogEncoding},
    run, telemetry,
};

fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        // Its report is for people; of the client's log they want no more than what goes wrong.
        Some(Command::CheckVendor(_)) => telemetry::start("error", LogEncoding::Console),
        None => telemetry::start(&args.log_level, args.log_encoding),
    }
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
    if let Some(Command::CheckVendor(check)) = &args.command {
        let code = runtime.block_on(check::run(check.clone(), args.addresses()));
        return ExitCode::from(code);
    }
    match runtime.block_on(run::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator cannot run");
            ExitCode::from(error.code())
        }
    }
}
