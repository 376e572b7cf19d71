//! `cargo proof model|matrix|replicas [--thorough]`
#![expect(clippy::print_stdout, reason = "the output is what it is run for")]

use std::process::ExitCode;

use proof::{Size, Tally, matrix, model, replicas};

const USAGE: &str = "usage: cargo proof model|matrix|replicas [--thorough]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (part, size) = match words.as_slice() {
        [part] => (*part, Size::Sample),
        [part, "--thorough"] | ["--thorough", part] => (*part, Size::Thorough),
        _ => return usage(),
    };
    let tally = match part {
        "model" => model::run(size),
        "matrix" => matrix::run(size),
        "replicas" => replicas::run(size),
        _ => return usage(),
    };
    let Tally { passed, failed } = tally;
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn usage() -> ExitCode {
    println!("{USAGE}");
    ExitCode::from(2)
}
