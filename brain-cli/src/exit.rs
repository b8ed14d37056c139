//! Exit codes, so that scripts know what has happened without reading words.

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// A deployment that was watched failed, was rolled back or was cancelled; or not all of a story was seen.
    DeploymentFailed = 1,
    /// The command line, a file or a field is faulty.
    Usage = 2,
    /// The server refused: something must be so first.
    Refused = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// The server cannot be reached, or could not answer.
    Unavailable = 5,
    /// Ctrl-C ended a watch, or the wait for an answer. What was watched or asked for goes on.
    Detached = 130,
    /// Whoever read the output has gone. As a shell tells of a program that SIGPIPE ended.
    Closed = 141,
}

/// The codes, for the help.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done; with --watch: the deployment succeeded
  1    with --watch: the deployment failed, was rolled back or was cancelled; dev --story: not all of it was seen
  2    the command line, a file or a field is faulty; nothing was done
  3    refused: something must be so first (a hold, an image that is not there, another deployment)
  4    what was named does not exist
  5    the server cannot be reached, or could not answer in time
  130  detached by Ctrl-C: what was watched or asked for goes on
  141  whoever read the output has gone";
