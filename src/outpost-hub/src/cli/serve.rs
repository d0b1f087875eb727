//! `serve`: the process that stays.

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::show;
use crate::log::{self, Level};
use crate::server::{Server, Settings};

/// Threads that may block: one commits, others read, answer and write keys.
const BLOCKING_THREADS_MAX: usize = 8;

/// They stay once they are started: a machine that is out of threads later has no new ones to give, and tokio panics when it
/// has none at all.
const THREAD_LIFE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// For a question on its way when the process is told to end. What it holds, nobody waits for any more.
const ABANDON: Duration = Duration::from_millis(200);

/// Serves until a signal ends it.
pub fn serve(folder: &Path, listen: String) -> Result<(), String> {
    abort_on_panic();
    let mut builder = Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).thread_keep_alive(THREAD_LIFE);
    let runtime = builder.build().map_err(|error| format!("no runtime: {error}"))?;
    let served = runtime.block_on(async {
        tokio::task::spawn_blocking(|| ()).await.map_err(|error| format!("no thread: {error}"))?;
        // From here on a signal is no sudden end.
        let stop = stop_signal().map_err(|error| format!("no signals: {error}"))?;
        let settings = Settings { folder: folder.to_owned(), listen };
        let server = Server::open(&settings).map_err(|error| error.to_string())?;
        let address = server.address();
        check_descriptors(server.descriptor_count());
        log::write(Level::Info, "hub is up", &[("address", &address), ("folder", &folder.display())]);
        // Scripts wait for this line.
        show(&format!("listening on {address}\n"))?;
        server.run(stop).await;
        log::write(Level::Info, "hub is down", &[]);
        Ok(())
    });
    runtime.shutdown_timeout(ABANDON);
    served
}

/// Each machine that is connected takes a file descriptor, so as many are taken as there are; too few are said.
fn check_descriptors(wanted: usize) {
    match hal::linux::descriptors::raise_limit() {
        Ok(limit) if limit >= wanted => {}
        Ok(limit) => {
            let message = "too few file descriptors for this fleet: raise the hard limit, LimitNOFILE= of systemd";
            log::write(Level::Warning, message, &[("limit", &limit), ("wanted", &wanted)]);
        }
        Err(error) => log::write(Level::Warning, "limit of file descriptors not raised", &[("error", &error)]),
    }
}

/// A panic is a broken invariant of ours: what is in memory is not to be trusted, and what is on the disk is whole.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}

/// Resolves with the first signal that asks for an end. The second one is obeyed at once.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::write(Level::Info, "closing down", &[]);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            log::write(Level::Warning, "ended at once", &[]);
            std::process::exit(1);
        });
    })
}
