//! The local socket: where the command line finds the serving process.
//!
//! Whoever may open `hub.sock` may do everything, so it is its owner's alone. It appears under its name only when its
//! rights are set, and replaces one that a dead process left: the lock of the store says that nobody else serves.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::call::{self, CALL_BYTES_MAX, Call, OUTCOME_BYTES_MAX, Outcome, SOCKET_NAME, VERSION};
use crate::desk::Desk;
use crate::log::{self, Level};

/// Calls at once.
const CALL_COUNT_MAX: usize = 16;

/// From the connection to the whole call.
const CALL: Duration = Duration::from_secs(10);

/// For a caller to take its answer.
const ANSWER: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(200);

/// The socket, with nobody answering yet.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Opens the socket in `folder`, which nobody else serves.
    pub fn open(folder: &Path) -> io::Result<Socket> {
        let path = folder.join(SOCKET_NAME);
        let unnamed = folder.join(format!("{SOCKET_NAME}.tmp"));
        let opened = (|| {
            match fs::remove_file(&unnamed) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&unnamed)?;
            fs::set_permissions(&unnamed, fs::Permissions::from_mode(0o600))?;
            fs::rename(&unnamed, &path)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })();
        match opened {
            Ok(listener) => Ok(Socket { path, listener }),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers calls, until it is dropped.
    pub async fn run(self, desk: Arc<Desk>) -> Infallible {
        let listener = tokio::net::UnixListener::from_std(self.listener).expect("the runtime has room for one more");
        let room = Arc::new(Semaphore::new(CALL_COUNT_MAX));
        loop {
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => {
                    let desk = desk.clone();
                    tokio::spawn(async move {
                        // A caller that went away wants no answer.
                        let _ = answer(stream, &desk).await;
                        drop(permit);
                        // An answer may have held a hundred times what this process needs.
                        let _ = tokio::task::spawn_blocking(hal::linux::memory::give_back).await;
                    });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

async fn answer(mut stream: tokio::net::UnixStream, desk: &Desk) -> io::Result<()> {
    let call = timeout(CALL, async {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let mut bytes = vec![0; call::length(head, CALL_BYTES_MAX).ok_or(io::ErrorKind::InvalidData)?];
        stream.read_exact(&mut bytes).await?;
        io::Result::Ok(read(&bytes))
    });
    let outcome = match call.await?? {
        Ok(call) => desk.outcome(call).await,
        Err(refusal) => Outcome::Refused(refusal),
    };
    let frame = call::frame(&outcome, OUTCOME_BYTES_MAX).or_else(|error| {
        log::write(Level::Warning, "answer is too long", &[("error", &error)]);
        let refusal = "the answer is too long: ask for fewer series or a longer --step".to_owned();
        call::frame(&Outcome::Refused(refusal), OUTCOME_BYTES_MAX)
    });
    // A caller may take a minute to read it, and it is all in the frame.
    drop(outcome);
    timeout(ANSWER, stream.write_all(&frame.map_err(io::Error::other)?)).await?
}

/// The call in a frame's body, or why it is none.
fn read(bytes: &[u8]) -> Result<Call, String> {
    let restart = |theirs: &str| {
        format!(
            "this is outpost-hub {theirs}, and the process that serves is {VERSION}: restart it to finish the upgrade"
        )
    };
    // The version stands in front, so it is read also when what follows is not known here.
    let (theirs, rest) = postcard::take_from_bytes::<&str>(bytes).map_err(|_| restart("of an unknown version"))?;
    if theirs != VERSION {
        return Err(restart(theirs));
    }
    call::body(rest).ok_or_else(|| restart(theirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_socket_is_its_owner_s_alone_and_replaces_one_that_a_dead_process_left() {
        let scratch = Scratch::new();
        fs::create_dir_all(&scratch.0).unwrap();
        let socket = Socket::open(&scratch.0).unwrap();
        assert_eq!(fs::metadata(socket.path()).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(scratch.0.join(SOCKET_NAME).exists());
        Socket::open(&scratch.0).unwrap();
    }

    #[test]
    fn a_call_of_another_version_is_told_to_restart() {
        let bytes = postcard::to_stdvec(&("9.9.9", 200u8)).unwrap();
        let refusal = read(&bytes).unwrap_err();
        assert!(refusal.contains("9.9.9") && refusal.contains("restart"), "{refusal}");
        assert!(read(&[0xff; 9]).unwrap_err().contains("restart"));
        let bytes = postcard::to_stdvec(&(VERSION, Call::Hub)).unwrap();
        assert_eq!(read(&bytes), Ok(Call::Hub));
    }
}
