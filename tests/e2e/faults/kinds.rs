//! The kinds of faults, and what each of them must look like to whoever waits for its end.

use e2e::vendor::Call;
use serde_json::{Value, json};
use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A kind of fault.
pub(super) struct Kind {
    /// The name of its subscription and connection.
    pub(super) name: &'static str,
    /// What the vendor is told.
    pub(super) fault: Value,
    /// What the message must say, as a person would look for it.
    pub(super) says: &'static [&'static str],
    /// Whether a call that meets it may have had its effect, so far as its caller can know: then
    /// a create at a vendor of mode None cannot be repeated.
    pub(super) may_have_effect: bool,
    /// The least time between two calls, where the vendor asks for one in seconds.
    pause: Duration,
}

fn kind(name: &'static str, fault: Value, says: &'static [&'static str]) -> Kind {
    Kind {
        name,
        fault,
        says,
        may_have_effect: true,
        pause: Duration::ZERO,
    }
}

/// Every kind; `elsewhere` is where the redirects lead.
pub(super) fn kinds(elsewhere: &Trap) -> Vec<Kind> {
    let said = json!({"error": {"code": "broken", "message": "our database is down"}});
    let limited =
        |retry_after: &str| json!({"status": 429, "headers": {"Retry-After": retry_after}});
    let no_effect = |kind| Kind {
        may_have_effect: false,
        ..kind
    };
    vec![
        kind(
            "error-500",
            json!({"status": 500, "body": said}),
            &["500", "our database is down"],
        ),
        kind(
            "error-500-after-effect",
            json!({"effectThen": {"status": 500, "body": said}}),
            &["500", "our database is down"],
        ),
        kind(
            "error-502",
            json!({"status": 502, "body": "upstream"}),
            &["502"],
        ),
        kind("error-503", json!({"status": 503}), &["503"]),
        no_effect(kind("timeout-408", json!({"status": 408}), &["408"])),
        no_effect(kind("early-425", json!({"status": 425}), &["425"])),
        no_effect(Kind {
            pause: Duration::from_secs(2),
            ..kind("limited-seconds", limited("2"), &["429"])
        }),
        no_effect(kind("limited-date", Value::Null, &["429"])),
        kind("garbage", json!({"garbage": true}), &["JSON"]),
        kind("huge", json!({"huge": 1_u64 << 30}), &["larger than"]),
        kind("html", json!({"html": true}), &["HTML"]),
        kind(
            "redirect",
            json!({"redirect": format!("http://127.0.0.1:{}/tenant", elsewhere.port)}),
            &["307", "redirect"],
        ),
        kind("truncated", json!({"truncate": true}), &["broke off"]),
        kind("slow-before", json!({"delay": "5s"}), &["in time"]),
        kind("slow-after", json!({"delayAfter": "5s"}), &["in time"]),
        kind("slow-body", json!({"slowBody": true}), &["in time"]),
        kind(
            "closed-before",
            json!({"closeBefore": true}),
            &["broke off"],
        ),
        kind("closed-after", json!({"closeAfter": true}), &["broke off"]),
    ]
}

impl Kind {
    /// The fault as of now: a date in it has to be made anew.
    pub(super) fn fault(&self) -> Value {
        if self.name == "limited-date" {
            json!({"status": 429, "headers": {"Retry-After": http_date(Duration::from_secs(3))}})
        } else {
            self.fault.clone()
        }
    }

    /// The least time between that call, which met it, and the next one.
    pub(super) fn pause(&self, met: &Call) -> Duration {
        if self.name != "limited-date" {
            return self.pause;
        }
        let date = met.0["fault"]["fault"]["headers"]["Retry-After"].as_str();
        let until = jiff::fmt::rfc2822::parse(date.unwrap()).unwrap();
        Duration::try_from(until.timestamp().duration_since(met.time())).unwrap_or_default()
    }

    /// The message says what is wrong, in one clean line.
    pub(super) fn check_message(&self, message: &str) {
        let name = self.name;
        for word in self.says {
            assert!(message.contains(word), "{name}: no {word:?} in {message:?}");
        }
        assert_clean(message);
    }

    pub(super) fn is_slow(&self) -> bool {
        self.name.starts_with("slow")
    }
}

/// One line, short, and nothing that a terminal would act on.
pub(crate) fn assert_clean(message: &str) {
    assert!(!message.is_empty(), "no message");
    assert!(message.chars().count() <= 1024, "too long: {message}");
    assert!(
        !message.chars().any(char::is_control),
        "control characters: {message:?}"
    );
}

/// A server that nobody may call: it counts those who do.
#[derive(Debug)]
pub(crate) struct Trap {
    pub(crate) port: u16,
    seen: Arc<AtomicUsize>,
}

impl Trap {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        // It ends with the process; nothing is lost with it.
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                if let Ok(mut stream) = stream {
                    let _ = stream.write_all(b"HTTP/1.1 502 Trap\r\ncontent-length: 0\r\n\r\n");
                }
            }
        });
        Self { port, seen }
    }

    /// How many connections came.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

/// Now and that much later, as HTTP writes dates.
fn http_date(later: Duration) -> String {
    let at = jiff::Timestamp::now() + later;
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
