//! `cargo demo`: the life of one subscription on a real control plane, with a real vendor, step by
//! step. Each step says what it did, what came of it, and whether that is what was promised.

mod builds;
mod domain;
mod keep;
mod manifest;
mod options;
mod screen;
mod shell;
mod stage;
mod steps;
mod stop;
mod watch;

use crate::{
    options::{Options, USAGE},
    screen::Screen,
    stage::Stage,
    stop::Stop,
};
use control_plane::interrupted;
use std::{
    io::Write as _,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    time::Instant,
};

/// What shells give a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let options = match Options::parse(arguments.map(|word| word.to_string_lossy().into_owned())) {
        Ok(options) => options,
        Err(wrong) => {
            eprint!("demo: {wrong}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.help {
        // Nobody is left to be told if this fails.
        let _ = std::io::stdout().write_all(USAGE.as_bytes());
        return ExitCode::SUCCESS;
    }
    let screen = Screen::new();
    // The harness fails by panicking. What was started then ends on the way here.
    let say_it = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // Ctrl-C reaches what the demo runs as well, so that anything may fail of it.
        if !interrupted().unwrap_or_default() {
            say_it(info);
        }
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| show(&options, screen)));
    let outcome = match outcome {
        Ok(Err(_)) | Err(_) if interrupted().unwrap_or_default() => Err(Stop::Interrupted),
        Ok(outcome) => outcome,
        Err(_panic) => Err(Stop::Broken("it could not go on, see above".to_owned())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Interrupted) => {
            eprintln!("demo: interrupted; everything is stopped and removed");
            ExitCode::from(INTERRUPTED)
        }
        Err(stop) => {
            eprintln!("demo: {stop}");
            ExitCode::FAILURE
        }
    }
}

/// The whole show. When it returns, nothing that it started is left.
fn show(options: &Options, screen: Screen) -> Result<(), Stop> {
    let started = Instant::now();
    builds::all(&screen)?;
    // Until here Ctrl-C may end everything at once; from here on there is something to clean up.
    stop::check()?;
    let mut stage = Stage::set(screen, steps::FILE, steps::NAME)?;
    let outcome = steps::walk(&mut stage);
    let seconds = started.elapsed().as_secs_f64();
    match &outcome {
        Ok(()) => {
            let steps = steps::ALL.len();
            screen.summary(&format!("{steps} steps, all came true in {seconds:.1} s"));
        }
        Err(stop) => stage.explain(stop),
    }
    if options.keep && !matches!(outcome, Err(Stop::Interrupted)) {
        keep::until_interrupted(&stage)?;
    }
    drop(stage);
    if outcome.is_ok() && !options.keep {
        keep::how_to_go_on(&screen);
    }
    outcome
}
