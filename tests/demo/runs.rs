//! `cargo demo` as whoever tries the project runs it: to its end, where every step has come true. A
//! target of its own, so that nothing else runs beside it: it promises seconds.

use std::process::{Command, Stdio};

#[test]
fn every_step_of_the_demo_comes_true() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"));
    let output = demo.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("the demo cannot be run: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let said = format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}:\n{said}", output.status);
    assert!(text.contains("all came true"), "{said}");
}
