//! The directory of one run: data, keys, kubeconfigs and logs.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use crate::Error;

/// Locked for as long as the owner lives, however it ends; better than asking whether the process
/// number in the directory's name is alive, since numbers are used again and containers share them.
const OWNER: &str = "owner.lock";
/// Marks a directory that `KEEP_CONTROL_PLANE=1` keeps.
const KEEP: &str = "keep";

/// A fresh directory, removed when dropped.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    _owner: File,
}

impl RunDir {
    /// Makes `<runs>/<pid>-<n>`, after removing what runs that were killed left there.
    pub(crate) fn create(runs: &Path) -> Result<Self, Error> {
        Self::try_create(runs).map_err(Error::io(format!(
            "create a directory in {}",
            runs.display()
        )))
    }

    fn try_create(runs: &Path) -> io::Result<Self> {
        fs::create_dir_all(runs)?;
        // Between making a directory and locking its owner file it looks abandoned, so the two
        // steps and the sweep exclude each other.
        let creation = File::create(runs.join(".lock"))?;
        creation.lock()?;
        sweep(runs)?;
        let path = create_numbered(runs)?;
        let owner = File::create(path.join(OWNER))?;
        owner.lock()?;
        if env::var_os("KEEP_CONTROL_PLANE").is_some_and(|keep| keep == "1") {
            File::create(path.join(KEEP))?;
        }
        Ok(Self {
            path,
            _owner: owner,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file that only this user can read: most hold keys or tokens.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<PathBuf, Error> {
        let path = self.join(name);
        let result = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()));
        result.map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// Removes the directory, unless it is to be kept.
    pub(crate) fn remove(&self) {
        let kept = self.path.join(KEEP).exists();
        if let Err(error) = remove_unless_kept(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        } else if kept {
            eprintln!("kept {}", self.path.display());
        }
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        self.remove();
    }
}

fn create_numbered(runs: &Path) -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let path = runs.join(format!("{}-{number}", process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

fn sweep(runs: &Path) -> io::Result<()> {
    for entry in fs::read_dir(runs)? {
        let path = entry?.path();
        if path.is_dir() && is_abandoned(&path) {
            remove_unless_kept(&path)?;
        }
    }
    Ok(())
}

fn is_abandoned(dir: &Path) -> bool {
    match File::open(dir.join(OWNER)) {
        Ok(owner) => owner.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn remove_unless_kept(dir: &Path) -> io::Result<()> {
    if dir.join(KEEP).exists() {
        return Ok(());
    }
    match fs::remove_dir_all(dir) {
        // Its owner, or a sweep by another process, was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
