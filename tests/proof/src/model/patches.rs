//! The check of the check, in the source: each patch in `tests/proof/mutants` makes one mistake in
//! the shipped planner. A copy of the workspace is built with it, and the model must notice.
//!
//! A patch is a unified diff. Its first line says what it breaks, and names behind it, in brackets
//! and between semicolons, the worlds in which that shows: `[None: plain; Lookup: plain]`. Without
//! any it is run in those of the sample.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Tally;

/// No world that a patch is run in takes this long.
const LIMIT: Duration = Duration::from_secs(300);

/// How a case fails: said in a few words.
type Failed = String;

/// Where the mutated copies are made and built.
#[derive(Debug)]
struct Workshop {
    root: PathBuf,
    copy: PathBuf,
    build: PathBuf,
}

/// Runs every patch, a case each.
pub(super) fn run(tally: &mut Tally) {
    let workshop = Workshop::of_this_workspace();
    let patches = match workshop.open() {
        Ok(patches) if !patches.is_empty() => patches,
        Ok(_) => return fail(tally, "patches: there are none"),
        Err(why) => return fail(tally, &format!("patches: {why}")),
    };
    let unfit = match workshop.unfit(&patches) {
        Ok(unfit) => unfit,
        Err(why) => return fail(tally, &format!("patches: {why}")),
    };
    for patch in patches {
        let began = Instant::now();
        let name = patch.file_stem().unwrap_or_default().to_string_lossy();
        let caught = workshop.case(&patch, &unfit);
        let said = caught.as_ref().unwrap_or_else(|why| why);
        let seconds = began.elapsed().as_secs_f64();
        println!("patch {name}, {seconds:.1} s: {said}");
        tally.count(caught.is_ok());
    }
}

fn fail(tally: &mut Tally, why: &str) {
    println!("{why}");
    tally.count(false);
}

impl Workshop {
    fn of_this_workspace() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = root.join("target");
        Self {
            copy: target.join("mutants"),
            build: target.join("mutants-build"),
            root,
        }
    }

    /// Makes the copy, and lists the patches.
    fn open(&self) -> Result<Vec<PathBuf>, Failed> {
        let listed = ran(self
            .git(&self.root)
            .args(["ls-files", "-z", "--cached", "--others"])
            .arg("--exclude-standard"))?;
        let copied = || -> io::Result<Vec<PathBuf>> {
            if self.copy.exists() {
                fs::remove_dir_all(&self.copy)?;
            }
            for file in listed.split('\0').filter(|file| !file.is_empty()) {
                let (from, to) = (self.root.join(file), self.copy.join(file));
                // What is deleted and not yet committed is listed too.
                if from.is_file() {
                    fs::create_dir_all(to.parent().unwrap_or(&self.copy))?;
                    fs::copy(from, to)?;
                }
            }
            let mut patches = Vec::new();
            for entry in fs::read_dir(self.root.join("tests/proof/mutants"))? {
                let path = entry?.path();
                if path.extension().is_some_and(|e| e == "patch") {
                    patches.push(path);
                }
            }
            patches.sort();
            Ok(patches)
        };
        copied().map_err(|error| error.to_string())
    }

    /// The worlds that break a promise without any patch: what is seen there proves nothing.
    fn unfit(&self, patches: &[PathBuf]) -> Result<Vec<String>, Failed> {
        let mut named = BTreeSet::new();
        for patch in patches {
            let text = fs::read_to_string(patch).map_err(|error| error.to_string())?;
            named.extend(worlds(&text).into_iter().map(str::to_owned));
        }
        self.build()?;
        let mut unfit = Vec::new();
        for world in named {
            match self.explore(&[&world]) {
                Ok(None) => {}
                Ok(Some(_)) => unfit.push(world),
                Err(why) => return Err(format!("unpatched, {world}: {why}")),
            }
        }
        Ok(unfit)
    }

    /// One patch: which promise it breaks.
    fn case(&self, patch: &Path, unfit: &[String]) -> Result<String, Failed> {
        let text = fs::read_to_string(patch).map_err(|error| error.to_string())?;
        let worlds = worlds(&text);
        if let Some(world) = unfit.iter().find(|unfit| worlds.contains(&unfit.as_str())) {
            return Err(format!("{world} breaks a promise without it too"));
        }
        self.apply(patch, &[])
            .map_err(|why| format!("does not apply: {why}"))?;
        let caught = self
            .build()
            .and_then(|()| self.explore(&worlds))
            .and_then(|broken| broken.ok_or_else(|| "not caught".to_owned()));
        self.apply(patch, &["--reverse"])
            .map_err(|why| format!("cannot be taken back: {why}"))?;
        caught
    }

    fn apply(&self, patch: &Path, how: &[&str]) -> Result<(), Failed> {
        let patch = patch.canonicalize().map_err(|error| error.to_string())?;
        ran(self.git(&self.copy).arg("apply").args(how).arg(patch)).map(|_| ())
    }

    /// git in a directory, which takes the copy for no part of the repository it lies in: there it
    /// would pass over a patch without a word.
    fn git(&self, within: &Path) -> Command {
        let mut git = Command::new("git");
        git.current_dir(within);
        if within == self.copy {
            let above = self.root.canonicalize().unwrap_or_default().join("target");
            git.env("GIT_CEILING_DIRECTORIES", above);
            for known in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
                git.env_remove(known);
            }
        }
        git
    }

    /// Builds the copy; apart from the run, so that what does not compile is not taken for caught.
    fn build(&self) -> Result<(), Failed> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        ran(Command::new(cargo)
            .args(["build", "--package", "proof", "--locked", "--quiet"])
            .env("CARGO_TARGET_DIR", &self.build)
            .current_dir(&self.copy))
        .map(|_| ())
        .map_err(|why| format!("does not compile: {why}"))
    }

    /// Explores worlds with what was built: the broken promise, if one is.
    fn explore(&self, worlds: &[&str]) -> Result<Option<String>, Failed> {
        let (success, said) = self
            .worlds(worlds)
            .map_err(|error| format!("cannot be run: {error}"))?;
        let broken = said.lines().find(|line| line.contains(" is broken in "));
        match broken {
            None if success => Ok(None),
            Some(broken) if !success => Ok(Some(broken.to_owned())),
            Some(_) | None => Err(format!("ends without a verdict: {said}")),
        }
    }

    /// Runs the mutated model: whether it succeeds, and what it says.
    fn worlds(&self, worlds: &[&str]) -> io::Result<(bool, String)> {
        let told = self.build.join("said");
        let mut model = Command::new(self.build.join("debug/proof"))
            .args(["model", "--worlds"])
            .args(worlds)
            .stdout(File::create(&told)?)
            .stderr(Stdio::null())
            .spawn()?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = model.try_wait()? {
                break status;
            }
            if began.elapsed() > LIMIT {
                model.kill()?;
                model.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(50));
        };
        Ok((status.success(), fs::read_to_string(told)?))
    }
}

/// What a command says; on failure, what it says of that.
fn ran(command: &mut Command) -> Result<String, Failed> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// The worlds that a patch's first line names.
fn worlds(patch: &str) -> Vec<&str> {
    let first = patch.lines().next().unwrap_or_default();
    let named = first
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("", |(named, _)| named);
    named
        .split(';')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::named;

    #[test]
    #[ignore = "takes minutes: part of cargo proof model --thorough"]
    fn every_patch_is_caught() {
        let mut tally = Tally::default();
        run(&mut tally);
        assert_eq!(tally.failed, 0);
    }

    #[test]
    fn a_first_line_names_worlds() {
        assert!(worlds("Nothing waits.\n[None: plain]").is_empty());
        assert_eq!(
            worlds("It forgets. [None: plain; Lookup: refusals, an edit]\n---"),
            ["None: plain", "Lookup: refusals, an edit"]
        );
    }

    #[test]
    fn every_patch_says_what_it_breaks_and_names_worlds_there_are() {
        let workshop = Workshop::of_this_workspace();
        let mut patches = 0;
        for entry in fs::read_dir(workshop.root.join("tests/proof/mutants")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            assert!(
                !text.starts_with("---") && !text.starts_with("diff"),
                "{}",
                path.display()
            );
            for world in worlds(&text) {
                assert!(named(world).is_some(), "{}: {world}", path.display());
            }
            patches += 1;
        }
        assert!(patches > 0);
    }
}
