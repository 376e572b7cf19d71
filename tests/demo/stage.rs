//! What the steps play on: a control plane, a vendor, the operator, and the screen.

use crate::{
    manifest::{Edit, Manifest},
    screen::Screen,
    shell::Shell,
    stop::{self, Stop, Untrue},
    watch::Watch,
};
use e2e::{
    World,
    kstatus::{self, Status},
    objects::{is_observed, standing},
    vendor::Call,
};
use serde_json::Value;
use std::{
    fmt::Display,
    path::Path,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Where the events are about what is in the namespace of a user who says none.
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

/// What the vendor signs its callbacks with, as in examples/fulfillment.yaml.
const CALLBACK_KEY: &str = "whsec_dGhlLWtleS10aGF0LXNpZ25zLWNhbGxiYWNrcw==";

/// How long anything may take to come true; on a quiet machine nothing takes three seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon Ctrl-C is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Everything that runs, and what of it has been shown. Dropping it ends it all.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) screen: Screen,
    /// What is played now: an example, and the Subscription it declares.
    pub(crate) manifest: Manifest,
    name: &'static str,
    watch: Watch,
    shell: Shell,
    dir: TempDir,
    pub(crate) world: World,
    shown: Shown,
    /// What has come true since then.
    true_now: Vec<String>,
}

/// Up to where things have been shown.
#[derive(Clone, Copy, Debug)]
struct Shown {
    version: usize,
    call: u64,
}

impl Stage {
    /// Starts it all, waits until it is ready, and plays this example first.
    pub(crate) fn set(screen: Screen, file: &str, name: &'static str) -> Result<Self, Stop> {
        let started = Instant::now();
        screen.heading("The stage");
        screen.say("starting etcd, kube-apiserver and the reference vendor on free ports …");
        let callbacks = format!("127.0.0.1:{}", e2e::free_port());
        let world = World::builder()
            .cluster_wide()
            .without_operator()
            .operator_arg(&format!("--callback-addr={callbacks}"))
            .operator_arg(&format!("--callback-url=http://{callbacks}"))
            .vendor_arg(&format!("--callback-secret={CALLBACK_KEY}"))
            .start();
        // The world's own connection is not part of the play.
        world.kubectl(&["delete", "vendorconnection/acme", "secret/acme"]);
        let watch = Watch::start(world.control_plane(), name)?;
        stop::check()?;
        screen.say("starting the operator, as the ServiceAccount of its chart's RBAC …");
        screen.say("starting kube-controller-manager: clusters collect garbage, too …");
        thread::scope(|scope| {
            let garbage_collector =
                scope.spawn(|| world.control_plane().start_controller_manager());
            world.operator.start();
            let started = garbage_collector.join();
            started
                .map_err(|_panic| Stop::Broken("cannot start a thread".to_owned()))?
                .map_err(|error| Stop::Broken(error.to_string()))
        })?;
        let dir = tempfile::Builder::new()
            .prefix("fulfillment-demo-")
            .tempdir()
            .map_err(Stop::broken("make a directory"))?;
        let stage = Self {
            screen,
            shell: Shell::new(world.control_plane(), dir.path())?,
            manifest: Manifest::new(file, dir.path(), world.vendor.url())?,
            name,
            dir,
            shown: Shown {
                version: watch.mark(),
                call: world.vendor.sequence(),
            },
            watch,
            world,
            true_now: Vec::new(),
        };
        let seconds = started.elapsed().as_secs_f64();
        screen.came_true(&format!(
            "API server at {}, vendor at {} ({seconds:.1} s)",
            stage.world.control_plane().url(),
            stage.world.vendor.url()
        ));
        Ok(stage)
    }

    /// Plays another example from now on.
    pub(crate) fn play(&mut self, file: &str, name: &'static str) -> Result<(), Stop> {
        self.manifest = Manifest::new(file, self.dir.path(), self.world.vendor.url())?;
        self.watch = Watch::start(self.world.control_plane(), name)?;
        self.name = name;
        self.shown = Shown {
            version: self.watch.mark(),
            call: self.world.vendor.sequence(),
        };
        Ok(())
    }

    /// Where the files are that commands name.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Shows the file, with the lines emphasised that are not the example's.
    pub(crate) fn show_file(&self) {
        let file = self.manifest.file();
        self.screen.say(&format!(
            "examples/{file} as it stands, but for the url, which is that of the vendor started here:"
        ));
        let vendor = self.world.vendor.url();
        let is_url = |line: &str| line.ends_with(&format!("url: {vendor}"));
        self.screen.file(self.manifest.text(), is_url);
    }

    /// Runs a command in the shell, with what it prints; it must succeed.
    pub(crate) fn run(&self, command: &str) -> Result<String, Stop> {
        self.screen.command(command);
        let outcome = self.shell.run(command)?;
        self.screen.output(&outcome.output);
        if outcome.succeeded {
            Ok(outcome.output)
        } else {
            Err(Stop::untrue(
                format!("`{command}` succeeds"),
                outcome.output.trim_end(),
            ))
        }
    }

    /// Edits the YAML file.
    pub(crate) fn edit(&mut self, old: &str, new: &str) -> Result<(), Stop> {
        let Edit { old, new } = self.manifest.edit(old, new)?;
        self.screen.edit(&self.manifest.file(), &old, &new);
        Ok(())
    }

    /// Waits for a version of the subscription, since what was last shown, that speaks of the object
    /// as it is declared and is as wanted.
    pub(crate) fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, Stop> {
        let wanted = |version: &Option<Value>| {
            version
                .as_ref()
                .filter(|object| is_observed(object) && wanted(object))
                .cloned()
        };
        self.until_version(what, wanted)
    }

    /// Waits until the subscription is gone.
    pub(crate) fn until_gone(&mut self) -> Result<(), Stop> {
        self.until_version("the Subscription is gone", |version| {
            version.is_none().then_some(())
        })
    }

    fn until_version<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(&Option<Value>) -> Option<T>,
    ) -> Result<T, Stop> {
        let deadline = Instant::now() + PATIENCE;
        let mut next = self.shown.version;
        loop {
            stop::check()?;
            let versions = self.watch.wait_since(next, LOOK_EVERY)?;
            next += versions.len();
            if let Some(found) = versions.iter().find_map(&wanted) {
                self.true_now.push(what.to_owned());
                return Ok(found);
            }
            if versions.is_empty() && Instant::now() > deadline {
                return Err(Stop::untrue(what, self.seen()));
            }
        }
    }

    /// Waits until a look at something else succeeds; what it saw last is told otherwise.
    pub(crate) fn eventually<T>(
        &mut self,
        what: &str,
        look: impl Fn(&Self) -> Result<T, String>,
    ) -> Result<T, Stop> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            stop::check()?;
            match look(self) {
                Ok(found) => {
                    self.true_now.push(what.to_owned());
                    return Ok(found);
                }
                Err(seen) if Instant::now() > deadline => return Err(Stop::untrue(what, seen)),
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Something that must be so now.
    pub(crate) fn expect(&mut self, what: &str, so: bool, seen: impl Display) -> Result<(), Stop> {
        if so {
            self.true_now.push(what.to_owned());
            Ok(())
        } else {
            Err(Stop::untrue(what, seen))
        }
    }

    /// The vendor must have been asked for exactly this since the last [`show`](Self::show); reads
    /// do not count.
    pub(crate) fn expect_asked(&mut self, expected: &[&str]) -> Result<(), Stop> {
        let asked = self.asked();
        let what = match expected {
            [] => "the vendor was asked to change nothing".to_owned(),
            _ => format!(
                "the vendor was asked for just this: {}",
                expected.join(", ")
            ),
        };
        self.expect(&what, asked == expected, format!("{asked:?}"))
    }

    /// The vendor must have been asked to delete the tenant, and for nothing else. Once more is no
    /// mistake: its callback that the tenant is gone may overtake the finalizer's last write, which
    /// is then tried from the beginning.
    pub(crate) fn expect_deleted(&mut self) -> Result<(), Stop> {
        let asked = self.asked();
        let again = asked.iter().skip(1).all(|call| call == "delete 404");
        let so = again && asked.first().is_some_and(|call| call == "delete 204");
        let what = "the vendor was asked to delete the tenant, and for nothing else";
        self.expect(what, so, format!("{asked:?}"))
    }

    /// What the vendor was asked for since the last [`show`](Self::show), and its answers; without
    /// reads.
    fn asked(&self) -> Vec<String> {
        let calls = self.calls().into_iter();
        calls
            .filter(|call| !matches!(call.operation(), "get" | "lookup"))
            .map(|call| {
                let status = call
                    .status()
                    .map_or("closed".to_owned(), |code| code.to_string());
                format!("{} {status}", call.operation())
            })
            .collect()
    }

    /// kstatus must have gone this way since the last [`show`](Self::show).
    pub(crate) fn expect_kstatus(&mut self, expected: &[Status]) -> Result<(), Stop> {
        let trail = self.trail();
        let what = match expected {
            [only] => format!("kstatus: {only:?} all the time"),
            _ => format!("kstatus: {}", arrows(expected)),
        };
        self.expect(&what, trail == expected, arrows(&trail))
    }

    /// Shows what kubectl shows, and everything since the last time: what the vendor received, and
    /// what came true.
    pub(crate) fn show(&mut self) -> Result<(), Stop> {
        self.run("kubectl get fsub")?;
        let shown = Shown {
            version: self.watch.mark(),
            call: self.world.vendor.sequence(),
        };
        self.screen.calls(&self.calls());
        self.show_true();
        self.shown = shown;
        Ok(())
    }

    /// Shows what came true and has not been shown.
    pub(crate) fn show_true(&mut self) {
        for what in self.true_now.drain(..) {
            self.screen.came_true(&what);
        }
    }

    /// The calls since the last [`show`](Self::show).
    fn calls(&self) -> Vec<Call> {
        self.world.vendor.calls_since(self.shown.call)
    }

    /// What kstatus made of the versions since the last [`show`](Self::show), beginning with what
    /// it was then.
    fn trail(&self) -> Vec<Status> {
        let versions = self.watch.since(self.shown.version);
        let mut trail: Vec<Status> = versions
            .iter()
            .map(|version| kstatus::status(version.as_ref()))
            .collect();
        trail.dedup();
        trail
    }

    /// The events about the subscription: reason and text.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let list: Value = serde_json::from_str(&self.world.raw(EVENTS)).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = list["items"].as_array().into_iter().flatten();
        events
            .filter(|event| event["regarding"]["name"] == self.name)
            .map(|event| (text(&event["reason"]), text(&event["note"])))
            .collect()
    }

    /// The subscription as it is now; null where there is none.
    pub(crate) fn now(&self) -> Value {
        let newest = self.watch.since(self.watch.mark()).pop().flatten();
        newest.unwrap_or_default()
    }

    /// How the subscription stands, in one line.
    fn seen(&self) -> String {
        let object = self.now();
        if object.is_null() {
            return "there is no such object".to_owned();
        }
        ["Ready", "Reconciling", "Stalled", "Approved"]
            .map(|name| format!("{name}: {}", standing(&object, name)))
            .join(", ")
    }

    /// Shows what there is to know about a step that did not come true.
    pub(crate) fn explain(&mut self, stop: &Stop) {
        self.show_true();
        let Stop::Untrue(Untrue { expected, seen }) = stop else {
            return;
        };
        self.screen.did_not(&format!("expected: {expected}"));
        self.screen.say(&format!("seen:     {seen}"));
        self.screen
            .say(&format!("kstatus:  {}", arrows(&self.trail())));
        let get = format!("kubectl get fsub {} -o yaml --ignore-not-found", self.name);
        self.screen.heading("The object");
        // Whether this can be had does not matter any more.
        let _ = self.run(&get);
        self.screen.heading("The vendor");
        self.screen.calls(&self.calls());
        self.screen.heading("The end of the operator's log");
        self.screen.output(&plain(&self.world.operator.log_tail()));
    }
}

fn arrows(trail: &[Status]) -> String {
    let words: Vec<String> = trail.iter().map(|status| format!("{status:?}")).collect();
    words.join(" → ")
}

/// Text without escape sequences.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_style, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_taken_out() {
        assert_eq!(plain("a\u{1b}[2mb m\u{1b}[0m c"), "ab m c");
    }
}
