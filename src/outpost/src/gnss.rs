//! The port to a receiver of satellites: listens on its line until it tells the time, once a minute.
//!
//! The line is set up by the system (`stty`, udev) and only read. What waits on it when a minute is over was said long ago, and is passed
//! over. Nobody says how long a sentence was on its way: receivers send it within the second that it is about.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::clock::Told;
use agent::timekeeper::nmea::Receiver;
use hal::linux::clock::{Clock, PLAUSIBLE_SINCE};
use hal::linux::line;
use smol::channel::Sender;
use smol::future::FutureExt as _;
use smol::{Async, Timer};
use wire::time::Span;

use crate::log;
use crate::port::Message;

/// How long a sentence may be on its way.
const UNCERTAINTY: Span = Span::seconds(1);

/// From one reading to the next.
const PAUSE: Duration = Duration::from_secs(60);

/// How long a receiver may tell no time before that is said: a cold start takes minutes.
const PATIENCE: Duration = Duration::from_secs(900);

/// How long to wait before a line that failed is opened anew.
const RETRY: Duration = Duration::from_secs(30);

/// Bytes taken from the line at a time.
const CHUNK_BYTES_MAX: usize = 256;

/// Chunks that are passed over at a time: more than the kernel keeps of a line or a pipe.
const STALE_COUNT_MAX: usize = 1024;

/// Listens for as long as the core does.
pub(crate) async fn run(path: PathBuf, clock: Arc<Clock>, core: Sender<Message>) {
    let mut said = String::new();
    while !core.is_closed() {
        let Err(error) = listen(&path, &clock, &core).await;
        let reason = error.to_string();
        // A receiver that is not plugged in is said once.
        if reason != said {
            let fields: [(&str, &dyn std::fmt::Display); 3] =
                [("gnss", &path.display()), ("reason", &reason), ("retry_s", &RETRY.as_secs())];
            log::warning("the receiver of satellites tells no time", &fields);
            said = reason;
        }
        Timer::after(RETRY).await;
    }
}

/// Errors: the line cannot be opened or read, or nothing on it tells the time.
async fn listen(path: &Path, clock: &Clock, core: &Sender<Message>) -> io::Result<std::convert::Infallible> {
    let line = Async::new_nonblocking(line::open(path)?)
        .map_err(|error| io::Error::new(error.kind(), format!("it is neither a serial line nor a pipe ({error})")))?;
    loop {
        let too_long = async {
            Timer::after(PATIENCE).await;
            Err(io::Error::other(
                "no time in 15 minutes: does it see the sky, is the line's speed that of the receiver?",
            ))
        };
        let told = hear(&line, clock).or(too_long).await?;
        // The queue is closed only when the process ends.
        let _ = core.send(Message::Told(told)).await;
        Timer::after(PAUSE).await;
        pass_over(line.get_ref())?;
    }
}

/// Waits for the next sentence that tells the time.
async fn hear(line: &Async<File>, clock: &Clock) -> io::Result<Told> {
    let (mut receiver, mut chunk) = (Receiver::new(PLAUSIBLE_SINCE), [0; CHUNK_BYTES_MAX]);
    loop {
        let count = line.read_with(|mut line| line.read(&mut chunk)).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nobody is at the other end of the line"));
        }
        let at = clock.now().uptime;
        // Of several that came together the last is the news.
        if let Some(unix) = chunk[..count].iter().filter_map(|byte| receiver.push(*byte)).last() {
            return Ok(Told::Gnss { at, unix, uncertainty: UNCERTAINTY });
        }
    }
}

/// Reads what waits on the line, without a look.
fn pass_over(mut line: &File) -> io::Result<()> {
    for _ in 0..STALE_COUNT_MAX {
        match line.read(&mut [0; CHUNK_BYTES_MAX]) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use wire::time::UnixTime;

    use super::*;
    use crate::state::tests::Scratch;

    const RMC: &[u8] = b"$GPRMC,123519.00,A,4807.038,N,01131.000,E,022.4,084.4,310126,,,A*5A\r\n";
    const UNSURE: &[u8] = b"$GPRMC,123518.00,V,,,,,,,310126,,,N*76\r\n";

    fn clock() -> Arc<Clock> {
        Arc::new(Clock::open(Path::new("/")).unwrap())
    }

    /// A pipe with a name, and the end into which a receiver speaks.
    fn pipe(scratch: &Scratch) -> (PathBuf, File) {
        let path = scratch.0.file("gnss");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        // With both directions open, opening waits for nobody.
        let end = File::options().read(true).write(true).open(&path).unwrap();
        (path, end)
    }

    #[test]
    fn a_receiver_on_a_pipe_is_heard_to_a_second() {
        let scratch = Scratch::new();
        let (path, mut receiver) = pipe(&scratch);
        smol::block_on(async {
            let (core, messages) = smol::channel::bounded(1);
            for part in [&RMC[20..], UNSURE, &RMC[..11], &RMC[11..]] {
                receiver.write_all(part).unwrap();
            }
            let heard = async { messages.recv().await.unwrap() };
            let port = async {
                run(path, clock(), core).await;
                unreachable!("it listens for as long as the core does")
            };
            let Message::Told(Told::Gnss { unix, uncertainty, .. }) = heard.or(port).await else {
                panic!("another message");
            };
            // 2026-01-31T12:35:19Z
            assert_eq!((unix, uncertainty), (UnixTime(1_769_862_919_000), Span::seconds(1)));
        });
    }

    #[test]
    fn what_was_said_while_nobody_listened_is_passed_over() {
        let scratch = Scratch::new();
        let (path, mut receiver) = pipe(&scratch);
        smol::block_on(async {
            let line = Async::new_nonblocking(line::open(&path).unwrap()).unwrap();
            receiver.write_all(&RMC.repeat(10)).unwrap();
            pass_over(line.get_ref()).unwrap();
            let clock = clock();
            assert!(smol::future::poll_once(hear(&line, &clock)).await.is_none());
            receiver.write_all(RMC).unwrap();
            hear(&line, &clock).await.unwrap();
        });
    }

    #[test]
    fn a_line_that_is_none_or_ends_says_so() {
        let scratch = Scratch::new();
        let error = |path: &Path| {
            let (core, _messages) = smol::channel::bounded(1);
            smol::block_on(listen(path, &clock(), &core)).unwrap_err().to_string()
        };
        assert!(error(&scratch.0.file("none")).contains("No such file"));
        scratch.0.write("file", RMC).unwrap();
        assert!(error(&scratch.0.file("file")).contains("neither a serial line nor a pipe"));
        let (path, receiver) = pipe(&scratch);
        drop(receiver);
        assert_eq!(error(&path), "nobody is at the other end of the line");
    }
}
