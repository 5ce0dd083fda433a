//! How a command ends: the exit codes that scripts rely on, and the text on standard error.

use std::io::Write as _;
use std::process::ExitCode;

/// A command ended badly in a way that scripts can tell apart. Put it anywhere into an error's chain; an error without
/// one counts as [`Ended::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The broker or the settings said no: exit code 1.
    #[error("{0}")]
    Refused(String),
    /// The command line is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Nobody answered at the address: exit code 3.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long: exit code 4.
    #[error("{0}")]
    TimedOut(String),
    /// The broker ended badly, and its log has said how: exit code 1, and nothing more to print.
    #[error("see the log")]
    Logged,
}

/// The exit code for an error.
pub fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(number(error))
}

fn ended(error: &anyhow::Error) -> Option<&Ended> {
    error.chain().find_map(|cause| cause.downcast_ref::<Ended>())
}

fn number(error: &anyhow::Error) -> u8 {
    match ended(error) {
        None | Some(Ended::Refused(_) | Ended::Logged) => 1,
        Some(Ended::Usage(_)) => 2,
        Some(Ended::Unreachable(_)) => 3,
        Some(Ended::TimedOut(_)) => 4,
    }
}

/// Prints an error on standard error: what happened, and each cause on a line of its own.
pub fn report(error: &anyhow::Error) {
    if ended(error) == Some(&Ended::Logged) {
        return;
    }
    let mut stderr = std::io::stderr().lock();
    // Whoever closed standard error does not want to hear it.
    let _closed = stderr.write_all(text(error).as_bytes());
}

fn text(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !lines.last().is_some_and(|last| last.ends_with(&cause)) {
            lines.push(cause);
        }
    }
    lines.join("\n  ") + "\n"
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_code_is_found_anywhere_in_the_chain() {
        let ended = |ended: Ended| number(&anyhow::Error::from(ended).context("while listing topics"));
        assert_eq!(ended(Ended::Refused(String::new())), 1);
        assert_eq!(ended(Ended::Usage(String::new())), 2);
        assert_eq!(ended(Ended::Unreachable(String::new())), 3);
        assert_eq!(ended(Ended::TimedOut(String::new())), 4);
        assert_eq!(number(&anyhow::anyhow!("anything else")), 1);
    }

    #[test]
    fn each_cause_has_a_line_and_none_comes_twice() {
        let io = std::io::Error::other("disk on fire");
        let error = Err::<(), _>(io).context("cannot write").context("cannot start").unwrap_err();
        assert_eq!(text(&error), "cannot start\n  cannot write\n  disk on fire\n");
        let repeated = anyhow::anyhow!("no such file").context("cannot read x: no such file");
        assert_eq!(text(&repeated), "cannot read x: no such file\n");
    }
}
