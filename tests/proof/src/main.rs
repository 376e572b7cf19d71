//! `cargo proof model|matrix|replicas [--thorough]`, or a part of one of them:
//!
//! * `cargo proof model --worlds [WORLD...]`: the shipped planner alone, as in
//!   `cargo proof model --worlds "None: a fault in the cluster"`;
//! * `cargo proof matrix|replicas [--thorough] --only WORD`: what has the word in its line, as in
//!   `cargo proof matrix --thorough --only "Lookup in scenario, create"`, or `--only junk`.
#![expect(clippy::print_stdout, reason = "the output is what it is run for")]

use std::process::ExitCode;

use proof::{Size, Tally, matrix, model, replicas};

const USAGE: &str = "usage: cargo proof model|matrix|replicas [--thorough]
       cargo proof model --worlds [WORLD...]
       cargo proof matrix|replicas [--thorough] --only WORD";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["model", "--worlds", worlds @ ..] = words.as_slice() {
        return model::worlds(worlds).map_or_else(usage, told);
    }
    let only = match words.iter().position(|word| *word == "--only") {
        Some(option) if option + 1 < words.len() => words.drain(option..=option + 1).nth(1),
        _ => None,
    };
    let (part, size) = match words.as_slice() {
        [part] => (*part, Size::Sample),
        [part, "--thorough"] | ["--thorough", part] => (*part, Size::Thorough),
        _ => return usage(),
    };
    let tally = match (part, only) {
        ("model", None) => model::run(size),
        ("matrix", only) => matrix::run(size, only),
        ("replicas", only) => replicas::run(size, only),
        _ => return usage(),
    };
    told(tally)
}

fn told(Tally { passed, failed }: Tally) -> ExitCode {
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
