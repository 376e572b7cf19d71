//! The programs under test, built from the sources as they are now.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The operator's binary.
pub fn operator() -> PathBuf {
    built().join("fulfillment-operator")
}

/// The reference vendor's binary.
pub fn vendor() -> PathBuf {
    built().join("reference-vendor")
}

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Builds every binary of the workspace, once per process, in the profile and the target directory
/// of the running program; returns the directory they are in.
fn built() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = own_dir();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "--workspace", "--bins", "--quiet"])
            .arg("--target-dir")
            .arg(dir.parent().unwrap())
            .current_dir(workspace());
        // What cargo told this program about itself would make ring's build script run again in the
        // nested build, and everything that depends on it be compiled anew.
        for (name, _) in std::env::vars_os() {
            let about_us = [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_",
                "CARGO_CRATE_",
                "CARGO_PRIMARY_",
            ];
            if about_us
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
            {
                cargo.env_remove(&name);
            }
        }
        if dir.ends_with("release") {
            cargo.arg("--release");
        }
        let output = cargo.output().expect("cargo cannot be run");
        assert!(
            output.status.success(),
            "cargo build --workspace --bins: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        dir
    })
}

/// `target/debug`, say: a test is in its `deps`, a program in itself.
fn own_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let dir = program.parent().unwrap();
    if dir.ends_with("deps") {
        dir.parent().unwrap().to_owned()
    } else {
        dir.to_owned()
    }
}
