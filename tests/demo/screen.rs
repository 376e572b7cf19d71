//! How it looks: 100 columns at most, and colours where somebody sees them.

use e2e::vendor::Call;
use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

/// The widest line.
const WIDTH: usize = 100;

/// Escape sequences for what is emphasised (SGR parameters).
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// Where the show is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    colours: bool,
}

impl Screen {
    /// The standard output.
    pub(crate) fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            colours: io::stdout().is_terminal() && !unwanted && !dumb,
        }
    }

    /// The title of a part.
    pub(crate) fn heading(&self, title: &str) {
        let rule = "─".repeat(WIDTH - 4 - title.chars().count().min(WIDTH - 4));
        self.line("");
        self.line(&format!("── {} {rule}", self.paint(BOLD, title)));
    }

    /// Plain words.
    pub(crate) fn say(&self, text: &str) {
        self.wrapped("  ", text, None);
    }

    /// A remark that is not what it is about.
    pub(crate) fn note(&self, text: &str) {
        self.wrapped("  ", text, Some(DIM));
    }

    /// A command as it is typed, and as it is run.
    pub(crate) fn command(&self, command: &str) {
        self.line(&format!(
            "  {} {}",
            self.paint(CYAN, "$"),
            self.paint(BOLD, command)
        ));
    }

    /// What a command printed.
    pub(crate) fn output(&self, text: &str) {
        for line in text.lines() {
            self.wrapped("    ", line, None);
        }
    }

    /// A file; `marked` lines stand out.
    pub(crate) fn file(&self, text: &str, marked: impl Fn(&str) -> bool) {
        for line in text.lines() {
            if marked(line) {
                self.wrapped("  ▶ │ ", line, Some(YELLOW));
            } else {
                self.wrapped("    │ ", line, None);
            }
        }
    }

    /// An edit of a file.
    pub(crate) fn edit(&self, file: &str, old: &str, new: &str) {
        self.say(&format!("in {file}:"));
        self.wrapped("    - ", old, Some(RED));
        self.wrapped("    + ", new, Some(GREEN));
    }

    /// Something done over HTTP by the demo itself.
    pub(crate) fn http(&self, method: &str, url: &str, rest: &str) {
        let method = self.paint(BOLD, method);
        self.line(&format!("  {} {method} {url}", self.paint(CYAN, "→")));
        if !rest.is_empty() {
            self.wrapped("    ", rest, None);
        }
    }

    /// What the vendor received, one line a call.
    pub(crate) fn calls(&self, calls: &[Call]) {
        if calls.is_empty() {
            self.note("the vendor received: nothing");
            return;
        }
        self.note("the vendor received:");
        for call in calls {
            self.line(&format!("    {}", cut(&describe(call), WIDTH - 4)));
        }
    }

    /// Something that came true.
    pub(crate) fn came_true(&self, what: &str) {
        let mark = self.paint(GREEN, "✓");
        self.line(&format!("  {mark} {}", cut(what, WIDTH - 4)));
    }

    /// The end of a step that came true.
    pub(crate) fn step_came_true(&self, number: usize, seconds: f64) {
        let words = format!("✓ step {number} came true ({seconds:.1} s)");
        self.line(&self.paint(&format!("{BOLD};{GREEN}"), &words));
    }

    /// The end of a walk in which every step came true.
    pub(crate) fn summary(&self, words: &str) {
        self.heading("Summary");
        self.line(&self.paint(&format!("{BOLD};{GREEN}"), format!("✓ {words}")));
    }

    /// Something that did not come true.
    pub(crate) fn did_not(&self, what: &str) {
        let red = format!("{BOLD};{RED}");
        self.line("");
        self.wrapped("✗ ", what, Some(&red));
    }

    fn wrapped(&self, indent: &str, text: &str, style: Option<&str>) {
        for line in wrap(text, WIDTH - indent.chars().count()) {
            match style {
                Some(style) => self.line(&self.paint(style, format!("{indent}{line}"))),
                None => self.line(&format!("{indent}{line}")),
            }
        }
    }

    fn paint(&self, style: &str, text: impl Display) -> String {
        if self.colours {
            format!("\u{1b}[{style}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }

    /// A line as it is, however long: to be copied.
    pub(crate) fn line(&self, line: &str) {
        // If nobody reads any more, what was started is to be cleaned up all the same.
        let _ = writeln!(io::stdout(), "{line}");
    }
}

/// A line that may not go over into the next.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width - 1).collect();
    format!("{kept}…")
}

/// `PUT /tenant/t-1001 → 200`, with what it asked for.
fn describe(call: &Call) -> String {
    let text = |field: &str| call.0[field].as_str().unwrap_or("?").to_owned();
    let status = call
        .status()
        .map_or_else(|| "closed".to_owned(), |status| status.to_string());
    let mut line = format!("{} {} → {status}", text("method"), text("path"));
    if !call.body().is_null() {
        line.push_str(&format!("  {}", call.body()));
    }
    line
}

/// Breaks a line at spaces, or anywhere where there is none. Columns stay as they are.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut rest: Vec<char> = line.trim_end().chars().collect();
        while rest.len() > width {
            let space = rest[..=width].iter().rposition(|c| *c == ' ');
            let at = space.filter(|at| *at > 0).unwrap_or(width);
            lines.push(rest[..at].iter().collect::<String>().trim_end().to_owned());
            rest.drain(..at);
            let spaces = rest.iter().take_while(|c| **c == ' ').count();
            rest.drain(..spaces);
        }
        lines.push(rest.into_iter().collect());
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn long_lines_are_broken_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 13), ["one two three"]);
        assert_eq!(wrap("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("  a\n\nb", 9), ["  a", "", "b"]);
        assert_eq!(wrap("", 9), [""]);
    }

    #[test]
    fn a_call_is_one_line() {
        let call = json!({
            "method": "PUT", "path": "/tenant/t-1", "status": 200, "body": {"limits": {"seats": 1}}
        });
        assert_eq!(
            describe(&Call(call)),
            r#"PUT /tenant/t-1 → 200  {"limits":{"seats":1}}"#
        );
        let lost = json!({"method": "GET", "path": "/tenant/t-1", "status": null, "body": null});
        assert_eq!(describe(&Call(lost)), "GET /tenant/t-1 → closed");
    }

    #[test]
    fn a_line_that_is_cut_says_so() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
    }
}
