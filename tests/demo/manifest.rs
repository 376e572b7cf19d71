//! A file of `examples/`, as the demo applies it and edits it.

use crate::stop::Stop;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The example's line that says where the vendor is.
const URL: &str = "url: http://reference-vendor";

/// A copy of the example in the directory that commands run in.
#[derive(Debug)]
pub(crate) struct Manifest {
    path: PathBuf,
    original: String,
    now: String,
}

/// An edit: the line as it was and as it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) old: String,
    pub(crate) new: String,
}

impl Manifest {
    /// Copies the example, with the vendor's URL put in.
    pub(crate) fn new(file: &str, dir: &Path, vendor: &str) -> Result<Self, Stop> {
        let example = e2e::binaries::workspace().join("examples").join(file);
        let what = format!("read {}", example.display());
        let text = fs::read_to_string(&example).map_err(Stop::broken(&what))?;
        let (original, _edit) = replaced(&text, URL, &format!("url: {vendor}"))?;
        let manifest = Self {
            path: dir.join(file),
            now: original.clone(),
            original,
        };
        manifest.write()?;
        Ok(manifest)
    }

    /// Its name, in the directory that commands run in.
    pub(crate) fn file(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    pub(crate) fn text(&self) -> &str {
        &self.now
    }

    /// Replaces the one line that has this text in it.
    pub(crate) fn edit(&mut self, old: &str, new: &str) -> Result<Edit, Stop> {
        let (now, edit) = replaced(&self.now, old, new)?;
        self.now = now;
        self.write()?;
        Ok(edit)
    }

    /// Takes all edits back.
    pub(crate) fn restore(&mut self) -> Result<(), Stop> {
        self.now = self.original.clone();
        self.write()
    }

    fn write(&self) -> Result<(), Stop> {
        fs::write(&self.path, &self.now).map_err(Stop::broken("write the YAML"))
    }
}

/// The text with `old` replaced; it must be the end of exactly one line.
fn replaced(text: &str, old: &str, new: &str) -> Result<(String, Edit), Stop> {
    let lines: Vec<&str> = text.lines().filter(|line| line.ends_with(old)).collect();
    let [line] = lines[..] else {
        let count = lines.len();
        let what = format!("the example must have one line {old:?}; it has {count}");
        return Err(Stop::Broken(what));
    };
    let edit = Edit {
        old: line.to_owned(),
        new: line.replace(old, new),
    };
    Ok((text.replacen(line, &edit.new, 1), edit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_replaced() {
        let (text, edit) = replaced("a:\n  b: 1\n  c: 2\n", "b: 1", "b: 10").unwrap();
        assert_eq!(text, "a:\n  b: 10\n  c: 2\n");
        assert_eq!(
            (edit.old.as_str(), edit.new.as_str()),
            ("  b: 1", "  b: 10")
        );
    }

    #[test]
    fn a_line_that_is_not_there_or_not_alone_is_refused() {
        assert!(replaced("a: 10\n", "a: 1", "a: 2").is_err());
        assert!(replaced("a: 1\nb:\n  a: 1\n", "a: 1", "a: 2").is_err());
    }

    #[test]
    fn the_quickstart_can_be_edited_as_the_steps_do() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest =
            Manifest::new("quickstart.yaml", dir.path(), "http://127.0.0.1:1").unwrap();
        manifest.edit("seats: 50", "seats: 80").unwrap();
        assert!(manifest.text().contains("seats: 80\n"));
        manifest.restore().unwrap();
        assert!(!manifest.text().contains("seats: 80\n"));
    }
}
