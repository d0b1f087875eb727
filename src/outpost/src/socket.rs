//! The port to people on site: a socket in the state folder that answers one request on each connection.
//!
//! Whoever may enter the folder may ask. There is no other way in: no port, nothing that a network reaches.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as Probe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::question::Answer;
use smol::channel::{Sender, bounded};
use smol::lock::Semaphore;
use smol::net::unix::{UnixListener, UnixStream};
use smol::{LocalExecutor, Timer};

use crate::dial::within;
use crate::failure::Failure;
use crate::local::{self, LocalError, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request};
use crate::log;
use crate::port::Message;

/// Connections that are served at a time; the next ones wait in the kernel.
const CONNECTION_COUNT_MAX: usize = 4;

/// How long a request may take to arrive, and a reply to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before a socket that could not be made is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// How long to wait before a connection that could not be taken is tried again: it waits in the kernel.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// Serves the socket at `path` for as long as the process lives.
///
/// Errors: another agent answers there.
pub(crate) fn serve(
    executor: &'static LocalExecutor<'static>,
    path: &Path,
    core: Sender<Message>,
) -> Result<(), Failure> {
    if Probe::connect(path).is_ok() {
        let folder = path.parent().unwrap_or(path).display();
        return Err(Failure::Failed(format!(
            "an agent runs with {folder} already, and only one may: `outpost status --dir {folder}` asks it, \
             `systemctl stop outpost` ends the service's"
        )));
    }
    let path = path.to_owned();
    let accept = async move {
        let listener = loop {
            match bind(&path) {
                Ok(listener) => break listener,
                Err(error) => {
                    log::error("nobody can ask this agent", &[("socket", &path.display()), ("reason", &error)])
                }
            }
            Timer::after(RETRY).await;
        };
        accept(executor, &listener, &core).await;
    };
    executor.spawn(accept).detach();
    Ok(())
}

/// Makes the socket. One that is left from a process that was killed is in the way.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Takes connections. Those that the system has no descriptor for wait, and find an agent that is slow and not gone.
async fn accept(executor: &'static LocalExecutor<'static>, listener: &UnixListener, core: &Sender<Message>) {
    let places = Arc::new(Semaphore::new(CONNECTION_COUNT_MAX));
    let mut is_failing = false;
    loop {
        let place = places.acquire_arc().await;
        let accepted = listener.accept().await;
        let was_failing = std::mem::replace(&mut is_failing, accepted.is_err());
        match accepted {
            Ok((stream, _)) => {
                let core = core.clone();
                let answer = async move {
                    // Whoever hangs up in the middle has seen why.
                    let _ = serve_one(stream, &core).await;
                    // An answer is up to a hundred times as large as anything else here.
                    hal::linux::memory::give_back();
                    drop(place);
                };
                executor.spawn(answer).detach();
            }
            Err(error) => {
                if !was_failing {
                    log::error("the local socket fails", &[("reason", &error)]);
                }
                Timer::after(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_one(mut stream: UnixStream, core: &Sender<Message>) -> Result<(), LocalError> {
    let too_slow = |_| LocalError::Io(io::ErrorKind::TimedOut.into());
    let request =
        within(PATIENCE, "the request", local::read(&mut stream, REQUEST_BYTES_MAX)).await.map_err(too_slow)??;
    let closed = |_| LocalError::Io(io::ErrorKind::UnexpectedEof.into());
    let reply = match request {
        Request::Ask(question) => {
            let (answer, answered) = bounded(1);
            core.send(Message::Ask { question, answer }).await.map_err(|_| closed(()))?;
            Reply::Answer(answered.recv().await.map_err(|_| closed(()))?)
        }
        Request::Reload => {
            core.send(Message::Reload).await.map_err(|_| closed(()))?;
            Reply::Reloading
        }
    };
    let written = within(PATIENCE, "the reply", local::write(&mut stream, &reply, REPLY_BYTES_MAX)).await;
    match written.map_err(too_slow)? {
        Err(error @ LocalError::TooLong(_)) => {
            let reply = Reply::Answer(Answer::Failed(error.to_string()));
            local::write(&mut stream, &reply, REPLY_BYTES_MAX).await
        }
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use agent::question::Question;

    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn a_question_reaches_the_core_and_its_answer_whoever_asked() {
        smol::block_on(async {
            let (mut here, there) = UnixStream::pair().unwrap();
            let (core, messages) = bounded(4);
            let ask = async {
                local::write(&mut here, &Request::Ask(Question::Latest), REQUEST_BYTES_MAX).await.unwrap();
                local::read::<Reply>(&mut here, REPLY_BYTES_MAX).await.unwrap()
            };
            let answer = async {
                let Ok(Message::Ask { question: Question::Latest, answer }) = messages.recv().await else {
                    panic!("another question")
                };
                answer.send(Answer::Failed("no card".to_owned())).await.unwrap();
            };
            let serve = async { serve_one(there, &core).await.unwrap() };
            let ((reply, ()), ()) = smol::future::zip(smol::future::zip(ask, answer), serve).await;
            assert_eq!(reply, Reply::Answer(Answer::Failed("no card".to_owned())));
        });
    }

    #[test]
    fn bytes_that_are_no_request_end_their_connection_alone() {
        smol::block_on(async {
            let (mut here, there) = UnixStream::pair().unwrap();
            let (core, messages) = bounded(4);
            smol::io::AsyncWriteExt::write_all(&mut here, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            assert!(serve_one(there, &core).await.is_err());
            assert!(messages.is_empty());
        });
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_for_its_owner_alone() {
        let Scratch(folder) = &Scratch::new();
        let path = folder.file(local::SOCKET);
        drop(bind(&path).unwrap());
        let _listener = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_agent_is_refused() {
        let Scratch(folder) = &Scratch::new();
        let path = folder.file(local::SOCKET);
        let _listener = bind(&path).unwrap();
        let executor: &'static LocalExecutor<'static> = Box::leak(Box::new(LocalExecutor::new()));
        let refused = serve(executor, &path, bounded(1).0).unwrap_err();
        assert!(refused.to_string().starts_with("an agent runs with "), "{refused}");
    }
}
