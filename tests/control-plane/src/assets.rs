//! Finds the control plane's binaries, or builds them from the Go module proxy.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Error;
use crate::process::{last_lines, spawn_bound};

/// The one place where the versions are said, besides the checksums, is the Go modules' own files.
const KUBERNETES: Module = Module {
    path: "k8s.io/kubernetes",
    go_mod: include_str!("../go.mod"),
    dir: "",
};
const ETCD: Module = Module {
    path: "go.etcd.io/etcd/server/v3",
    ..KUBERNETES
};
const HELM: Module = Module {
    path: "helm.sh/helm/v3",
    go_mod: include_str!("../helm/go.mod"),
    dir: "helm",
};

const KUBE_APISERVER: Binary = Binary {
    name: "kube-apiserver",
    module: KUBERNETES,
    package: "/cmd/kube-apiserver",
    version_in: KUBERNETES_VERSION_IN,
};
const KUBE_CONTROLLER_MANAGER: Binary = Binary {
    name: "kube-controller-manager",
    package: "/cmd/kube-controller-manager",
    ..KUBE_APISERVER
};
const KUBECTL: Binary = Binary {
    name: "kubectl",
    package: "/cmd/kubectl",
    ..KUBE_APISERVER
};
const ETCD_BINARY: Binary = Binary {
    name: "etcd",
    module: ETCD,
    package: "",
    version_in: &[],
};
const HELM_BINARY: Binary = Binary {
    name: "helm",
    module: HELM,
    package: "/cmd/helm",
    version_in: &["helm.sh/helm/v3/internal/version.version"],
};

/// Kubernetes' release builds write their version into these variables.
const KUBERNETES_VERSION_IN: &[&str] = &[
    "k8s.io/component-base/version.gitVersion",
    "k8s.io/client-go/pkg/version.gitVersion",
];

/// The binaries of a control plane.
#[derive(Clone, Debug)]
pub struct Assets {
    kube_apiserver: PathBuf,
    etcd: PathBuf,
    kubectl: PathBuf,
    /// The directory that `KUBEBUILDER_ASSETS` named.
    provided: Option<PathBuf>,
}

impl Assets {
    /// Takes the binaries from the directory that `KUBEBUILDER_ASSETS` names if it is set, and
    /// otherwise builds those that are not yet in the target directory, saying so on stderr.
    ///
    /// The first build takes a few minutes and needs `go` and its module proxy; after that this
    /// returns at once.
    pub fn find_or_build() -> Result<Self, Error> {
        match env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty()) {
            // The binaries run in directories of their own, where a relative path leads elsewhere.
            Some(dir) => std::path::absolute(&dir)
                .map_err(Error::io("find KUBEBUILDER_ASSETS"))
                .and_then(Self::provided),
            None => Ok(Self {
                etcd: ETCD_BINARY.find_or_build()?,
                kube_apiserver: KUBE_APISERVER.find_or_build()?,
                kubectl: KUBECTL.find_or_build()?,
                provided: None,
            }),
        }
    }

    fn provided(dir: PathBuf) -> Result<Self, Error> {
        let find = |binary: Binary| {
            let path = dir.join(binary.name);
            if path.is_file() {
                Ok(path)
            } else {
                Err(Error::MissingAsset {
                    dir: dir.clone(),
                    name: binary.name,
                })
            }
        };
        Ok(Self {
            kube_apiserver: find(KUBE_APISERVER)?,
            etcd: find(ETCD_BINARY)?,
            kubectl: find(KUBECTL)?,
            provided: Some(dir),
        })
    }

    /// The path of kube-apiserver.
    pub fn kube_apiserver(&self) -> &Path {
        &self.kube_apiserver
    }

    /// The path of etcd.
    pub fn etcd(&self) -> &Path {
        &self.etcd
    }

    /// The path of kubectl.
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// The path of kube-controller-manager, which is built when first asked for unless
    /// `KUBEBUILDER_ASSETS` has one: setup-envtest brings none, and few tests need it.
    pub fn kube_controller_manager(&self) -> Result<PathBuf, Error> {
        self.provided
            .iter()
            .map(|dir| dir.join(KUBE_CONTROLLER_MANAGER.name))
            .find(|path| path.is_file())
            .map_or_else(|| KUBE_CONTROLLER_MANAGER.find_or_build(), Ok)
    }

    /// The path of helm: the one on `PATH` if there is one, else built when first asked for.
    pub fn helm(&self) -> Result<PathBuf, Error> {
        env::var_os("PATH")
            .iter()
            .flat_map(env::split_paths)
            .map(|dir| dir.join(HELM_BINARY.name))
            .find(|path| path.is_file())
            .map_or_else(|| HELM_BINARY.find_or_build(), Ok)
    }
}

/// The directory in cargo's target directory that holds everything of this crate's.
pub(crate) fn work_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workspace = workspace.canonicalize().unwrap_or(workspace);
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace.join(target).join("control-plane")
}

/// A Go module as one of the go.mod files beside this crate requires it.
#[derive(Clone, Copy)]
struct Module {
    path: &'static str,
    go_mod: &'static str,
    /// Where that go.mod is, relative to this crate.
    dir: &'static str,
}

impl Module {
    /// The required version; the checks of the module's checksum are `go`'s.
    fn version(self) -> &'static str {
        self.go_mod
            .lines()
            .filter_map(|line| {
                let mut words = line
                    .split_whitespace()
                    .skip_while(|word| *word == "require");
                (words.next() == Some(self.path)).then(|| words.next())?
            })
            .next()
            .unwrap_or("unknown")
    }
}

/// A main package of a module.
#[derive(Clone, Copy)]
struct Binary {
    name: &'static str,
    module: Module,
    package: &'static str,
    version_in: &'static [&'static str],
}

impl Binary {
    /// The binary's path, after building it if nobody has yet.
    fn find_or_build(self) -> Result<PathBuf, Error> {
        // etcd's version is Kubernetes' choice, so Kubernetes' version stands for both.
        let versioned = match self.module.dir {
            "" => KUBERNETES.version().to_owned(),
            dir => format!("{dir}-{}", self.module.version()),
        };
        let dir = work_dir().join("bin").join(versioned);
        let path = dir.join(self.name);
        if !path.is_file() {
            fs::create_dir_all(&dir).map_err(Error::io(format!("create {}", dir.display())))?;
            let _lock = self.lock(&dir.join(".lock"))?;
            if !path.is_file() {
                self.build(&path)?;
            }
        }
        Ok(path)
    }

    /// One build at a time: several test processes want the same binary at the same moment, and a
    /// build uses every core as it is. The lock goes with the file handle, so a killed build frees it.
    fn lock(self, path: &Path) -> Result<File, Error> {
        let action = || format!("lock {}", path.display());
        let file = File::create(path).map_err(Error::io(action()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::io(action())(error)),
        }
        eprintln!("waiting for {}, which another process builds …", self.name);
        file.lock().map_err(Error::io(action()))?;
        Ok(file)
    }

    fn build(self, path: &Path) -> Result<(), Error> {
        let version = self.module.version();
        eprintln!("building {} {version} (once, a few minutes) …", self.name);
        let started = Instant::now();
        // Under another name until it is whole: a build that is killed leaves nothing that passes
        // for a binary, and the next one starts by overwriting what it left.
        let unfinished = path.with_extension("unfinished");
        let mut go = Command::new("go");
        go.arg("build")
            .args(["-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags"])
            .arg(self.linker_flags())
            .arg("-o")
            .arg(&unfinished)
            .arg(format!("{}{}", self.module.path, self.package))
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(self.module.dir))
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env_remove("GOOS")
            .env_remove("GOARCH")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = spawn_bound(go)
            .and_then(std::process::Child::wait_with_output)
            .map_err(Error::io(format!(
                "run go to build {} (is the Go toolchain installed?)",
                self.name
            )))?;
        if !output.status.success() {
            return Err(Error::Build {
                name: self.name,
                status: output.status,
                output: last_lines(&String::from_utf8_lossy(&output.stderr)),
            });
        }
        fs::rename(&unfinished, path).map_err(Error::io(format!("create {}", path.display())))?;
        eprintln!("… done in {} s", started.elapsed().as_secs());
        Ok(())
    }

    fn linker_flags(self) -> String {
        let version = self.module.version();
        let mut flags = "-s -w".to_owned();
        for variable in self.version_in {
            flags.push_str(&format!(" -X {variable}={version}"));
            // Kubernetes reports these beside gitVersion, and some clients read them instead.
            if let Some(package) = variable.strip_suffix(".gitVersion") {
                let mut numbers = version.trim_start_matches('v').split('.');
                let (major, minor) = (numbers.next(), numbers.next());
                flags.push_str(&format!(
                    " -X {package}.gitMajor={} -X {package}.gitMinor={} -X {package}.gitTreeState=clean",
                    major.unwrap_or_default(),
                    minor.unwrap_or_default(),
                ));
            }
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_go_modules() {
        for module in [KUBERNETES, ETCD, HELM] {
            let version = module.version();
            assert!(version.starts_with('v'), "{}: {version}", module.path);
        }
    }

    #[test]
    fn kubernetes_binaries_are_told_their_version() {
        let flags = KUBECTL.linker_flags();
        let version = KUBERNETES.version();
        assert!(flags.contains(&format!(
            "-X k8s.io/component-base/version.gitVersion={version} "
        )));
        assert!(flags.contains("-X k8s.io/client-go/pkg/version.gitMajor=1 "));
    }
}
