//! What the program keeps when it is killed.

use crate::support::{Answer, Vendor, reach};
use reference_vendor::{Config, Running, StartError};
use serde_json::json;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

/// The program, killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) vendor: Vendor,
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reference-vendor"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .strip_prefix("reference-vendor listening on ")
            .unwrap()
            .trim_end();
        Self {
            vendor: Vendor::at(url),
            child,
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    #[expect(
        unsafe_code,
        reason = "the standard library sends no signal but SIGKILL"
    )]
    fn signal(mut self, signal: i32) -> ExitStatus {
        let id = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill(2) takes no pointers, and the child is not yet waited for, so that its id
        // is its own.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0);
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone_before = self.child.kill();
        let _waited_for_before = self.child.wait();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_kill_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let behavior = directory.path().join("behavior.json");
    let operations = json!({
        "create": "sync",
        "change": {"async": {"after": "manual"}},
        "disable": {"async": {"after": "3s", "retryAfter": null}},
    });
    std::fs::write(&behavior, json!({ "operations": operations }).to_string()).unwrap();
    let database = directory.path().join("vendor.redb");
    let arguments = [
        "--database",
        text(&database),
        "--behavior",
        text(&behavior),
        "--identity",
        "idempotency-key",
    ];
    let create = |vendor: &Vendor, key: &str| {
        let order = json!({"externalId": "a", "limits": {"seats": 1}});
        Answer::of(
            vendor
                .request("POST", "/tenant")
                .header("Idempotency-Key", key)
                .json(&order),
        )
    };

    let program = Program::start(&arguments);
    let first = create(&program.vendor, "k1").await;
    let second = create(&program.vendor, "k2").await;
    assert_eq!((first.status, second.status), (201, 201));
    let limits = json!({"limits": {"seats": 2}});
    assert_eq!(
        program
            .vendor
            .send("PUT", "/tenant/t-1001", limits)
            .await
            .status,
        202
    );
    assert_eq!(
        program
            .vendor
            .call("PUT", "/tenant/t-1002/disable")
            .await
            .status,
        202
    );
    let before = (program.vendor.calls().await, program.vendor.counts().await);
    program.kill();

    let program = Program::start(&arguments);
    let vendor = &program.vendor;
    assert_eq!((vendor.calls().await, vendor.counts().await), before);
    // The keys.
    let replay = create(vendor, "k1").await;
    assert_eq!(
        (replay.header("idempotency-replayed"), &replay.body),
        ("true", &first.body)
    );
    assert_eq!(create(vendor, "k3").await.json()["id"], "t-1003");
    // The decision that time makes.
    let read = reach(vendor, "/tenant/t-1002", "suspended", "approved").await;
    assert_eq!(read.json()["limits"]["seats"], 1);
    // The decision that a person makes.
    reach(vendor, "/tenant/t-1001", "active", "pending").await;
    vendor
        .decide("/tenant/t-1001", json!({"status": "approved"}))
        .await;
    assert_eq!(
        vendor.get("/tenant/t-1001").await.json()["limits"]["seats"],
        2
    );
    assert_eq!(
        vendor.last_call().await["sequence"].as_u64().unwrap(),
        vendor.calls().await.len() as u64
    );
}

#[tokio::test]
async fn a_kill_in_the_middle_of_many_creates_loses_no_answered_one() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("vendor.redb");
    let arguments = ["--database", text(&database)];
    for round in 0..3 {
        let program = Program::start(&arguments);
        let answered = std::sync::Mutex::new(Vec::new());
        let callers = (0..8).map(|caller| {
            let (vendor, answered) = (&program.vendor, &answered);
            async move {
                for number in 0.. {
                    let external_id = format!("{round}-{caller}-{number}");
                    let order = json!({"externalId": external_id});
                    let request = vendor.request("POST", "/tenant").json(&order);
                    let Ok(answer) = Answer::try_of(request).await else {
                        return;
                    };
                    assert_eq!(answer.status, 201);
                    answered.lock().unwrap().push(external_id);
                }
            }
        });
        let enough = async {
            while answered.lock().unwrap().len() < 100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = futures::future::join_all(callers) => panic!("the program ended by itself"),
            () = enough => {}
        }
        program.kill();

        let program = Program::start(&arguments);
        let vendor = &program.vendor;
        for external_id in answered.into_inner().unwrap() {
            let found = vendor
                .get(&format!("/tenant?externalId={external_id}"))
                .await
                .json();
            assert_eq!(found.as_array().unwrap().len(), 1, "{external_id}");
        }
        // Each tenant has its call, and each call its tenant.
        let counts = vendor.counts().await;
        assert_eq!(counts["live"], counts["effects"]["created"]);
        assert_eq!(counts["duplicates"], 0);
        program.kill();
    }
}

#[tokio::test]
async fn signals_stop_it() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("vendor.redb");
        let program = Program::start(&["--database", text(&database), "--fsync"]);
        program.vendor.create("a").await;
        // A connection that is open and idle does not keep it.
        assert!(program.signal(signal).success());
        let program = Program::start(&["--database", text(&database), "--fsync"]);
        assert_eq!(program.vendor.get("/tenant/t-1001").await.status, 200);
    }
}

/// Starts a vendor on a port that the system gives to nobody unasked: one of port 0 may be another
/// test's as soon as it is free.
async fn on_a_port_of_its_own(config: &Config) -> Running {
    let first = 30_000 + (std::process::id() % 2_000) as u16;
    for port in first..32_768 {
        let config = Config {
            listen: ([127, 0, 0, 1], port).into(),
            ..config.clone()
        };
        match reference_vendor::start(config).await {
            Err(StartError::Listen(..)) => {}
            started => return started.unwrap(),
        }
    }
    panic!("no port is free");
}

#[tokio::test]
async fn a_stopped_vendor_frees_its_port_and_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let database = Some(directory.path().join("vendor.redb"));
    let config = Config {
        database,
        ..Default::default()
    };
    let running = on_a_port_of_its_own(&config).await;
    let vendor = Vendor::at(running.url());
    vendor.create("a").await;
    // Two at once would ruin it.
    assert!(reference_vendor::start(config.clone()).await.is_err());
    let config = Config {
        listen: running.address(),
        ..config
    };
    running.stop().await;
    let running = reference_vendor::start(config).await.unwrap();
    assert_eq!(running.url(), vendor.url);
    assert_eq!(vendor.get("/tenant/t-1001").await.status, 200);
    running.stop().await;
}

#[tokio::test]
async fn flags_are_checked() {
    for arguments in [
        &["--token", "t", "--basic", "a:b"][..],
        &["--basic", "a"],
        &["--api-key", "a b=c"],
        &["--identity", "luck"],
        &["--tls-cert", "x"],
        &["--behavior", "/nonexistent"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_reference-vendor"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{arguments:?}"
        );
        assert!(!output.stderr.is_empty());
    }
    for (arguments, header, value) in [
        (["--token", "s"], "authorization", "Bearer s"),
        (["--basic", "a:b:c"], "authorization", "Basic YTpiOmM="),
        (["--api-key", "X-Key=k="], "x-key", "k="),
    ] {
        let program = Program::start(&arguments);
        let request = || program.vendor.request("GET", "/tenant?externalId=a");
        assert_eq!(Answer::of(request()).await.status, 401);
        assert_eq!(
            Answer::of(request().header(header, value)).await.status,
            200
        );
    }
}
