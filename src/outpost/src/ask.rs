//! Asking a running agent.

use std::io;
use std::path::Path;
use std::time::Duration;

use agent::question::{Answer, Question};
use smol::net::unix::UnixStream;

use crate::dial::within;
use crate::failure::Failure;
use crate::local::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request, SOCKET};
use crate::state::StateFolder;

/// How long an answer may take: a week of samples on a slow card.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks the agent that runs with `folder`.
///
/// Errors: none runs there, it may not be asked by this user, or it cannot answer.
pub(crate) fn ask(folder: &StateFolder, question: Question) -> Result<Answer, Failure> {
    match exchange(folder, &Request::Ask(question))? {
        Reply::Answer(Answer::Failed(reason)) => Err(Failure::Failed(format!("the agent cannot answer: {reason}"))),
        Reply::Answer(answer) => Ok(answer),
        Reply::Reloading => Err(unexpected()),
    }
}

/// Has a running agent read its settings and its enrolment again. Says whether one runs.
pub(crate) fn reload(folder: &StateFolder) -> bool {
    exchange(folder, &Request::Reload).is_ok()
}

/// For an answer that does not belong to its question.
pub(crate) fn unexpected() -> Failure {
    Failure::Failed("the agent answered something else: restart it, it is of another release".to_owned())
}

fn exchange(folder: &StateFolder, request: &Request) -> Result<Reply, Failure> {
    let path = folder.file(SOCKET);
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", path.display()));
    let exchange = async {
        let mut stream = UnixStream::connect(&path).await.map_err(|error| not_connected(folder.path(), &error))?;
        local::write(&mut stream, request, REQUEST_BYTES_MAX).await.map_err(|error| failed(&error))?;
        local::read(&mut stream, REPLY_BYTES_MAX).await.map_err(|error| failed(&error))
    };
    smol::block_on(within(PATIENCE, "the agent's answer", exchange)).map_err(|error| failed(&error))?
}

fn not_connected(folder: &Path, error: &io::Error) -> Failure {
    let folder = folder.display();
    Failure::Failed(match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => format!(
            "no agent runs with {folder}. Start it with `sudo systemctl start outpost`, or with `outpost run` in \
             another terminal; an agent with another folder is asked with --dir, the system's with sudo"
        ),
        io::ErrorKind::PermissionDenied => format!("{folder} belongs to another user: ask with sudo"),
        _ => format!("{folder}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn where_no_agent_runs_it_is_said_how_to_start_one() {
        let Scratch(folder) = &Scratch::new();
        for _ in 0..2 {
            let Err(Failure::Failed(error)) = ask(folder, Question::Status) else { panic!("nobody can have answered") };
            assert!(error.contains("no agent runs with ") && error.contains("outpost run"), "{error}");
            // The second time with a socket that nobody listens at.
            drop(std::os::unix::net::UnixListener::bind(folder.file(SOCKET)));
        }
        assert!(!reload(folder));
    }
}
