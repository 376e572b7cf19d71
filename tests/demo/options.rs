//! The flags.

/// What `--help` says.
pub(crate) const USAGE: &str = "\
usage: cargo demo [-- --keep]

Walks a subscription through its whole life: a real Kubernetes API server, a real vendor, and the
operator between them with the rights that its chart gives it. What is missing is built first.

options:
  --keep      leave everything running at the end, and say how to play with it, until Ctrl-C
  -h, --help  this text

environment:
  KUBEBUILDER_ASSETS  a directory with etcd, kube-apiserver and kubectl, so that they are not built
  NO_COLOR            no colours (there are none either where the output is not a terminal)

exit codes: 0 every step came true, 1 one did not, 2 wrong usage, 130 Ctrl-C
";

/// What the user asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Leave everything running at the end.
    pub(crate) keep: bool,
    /// Only say how it is used.
    pub(crate) help: bool,
}

impl Options {
    /// Reads the arguments; what is wrong with them otherwise.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--keep" => options.keep = true,
                "--help" | "-h" => options.help = true,
                _ if argument.starts_with('-') => {
                    return Err(format!("there is no flag {argument}"));
                }
                _ => return Err(format!("it takes no arguments, but got {argument:?}")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_understood() {
        assert_eq!(parse(""), Ok(Options::default()));
        let keep = Options {
            keep: true,
            ..Options::default()
        };
        assert_eq!(parse("--keep"), Ok(keep));
        assert!(parse("-h").unwrap().help && parse("--keep --help").unwrap().help);
    }

    #[test]
    fn what_is_no_flag_is_named() {
        assert!(parse("--keep=1").unwrap_err().contains("--keep=1"));
        assert!(parse("-k").unwrap_err().contains("-k"));
        assert!(parse("keep").unwrap_err().contains("\"keep\""));
    }
}
