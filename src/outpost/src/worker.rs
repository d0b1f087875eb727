//! A thread of its own for what may block: the disk, `/proc`, a resolver.
//!
//! smol's pool is for many short jobs of many kinds. Its threads wake twice a second for as long as the process lives
//! (`blocking` 1.7), which on a machine that is otherwise asleep is more work than the sampling; the few jobs here run
//! one after the other on a thread that sleeps until there is one.

use std::thread;

use smol::channel::{Receiver, Sender, bounded};

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that wait: the one that is handed over, and one before it whose result nobody waits for any more.
const JOB_COUNT_MAX: usize = 2;

/// A thread that runs one job at a time. It ends when this is dropped and the last job is done.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Sender<Job>,
}

/// A job that was handed over. Dropping it leaves the job running and loses its result.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    result: Receiver<T>,
}

impl Worker {
    /// Starts a thread of this name.
    ///
    /// Panics: when the system has no thread left at the start of the process.
    pub(crate) fn start(name: &str) -> Worker {
        let (jobs, queue) = bounded::<Job>(JOB_COUNT_MAX);
        let run = move || {
            while let Ok(job) = queue.recv_blocking() {
                job();
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(run).expect("the system has a thread for us");
        Worker { jobs }
    }

    /// Hands a job over, which runs when those before it are done.
    ///
    /// Panics: when [`JOB_COUNT_MAX`] jobs wait already.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
        let (done, result) = bounded(1);
        let job = Box::new(move || {
            // Nobody waits any more for a result that was dropped.
            let _ = done.try_send(job());
        });
        assert!(self.jobs.try_send(job).is_ok(), "whoever hands jobs over waits for their results");
        Pending { result }
    }
}

impl<T> Pending<T> {
    /// The job's result. May be dropped and asked for again.
    pub(crate) async fn result(&mut self) -> T {
        self.result.recv().await.expect("a panic ends the process, so every job gives a result")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_one_after_the_other_on_another_thread() {
        let worker = Worker::start("test");
        let here = thread::current().id();
        let first = smol::block_on(worker.run(move || thread::current().id()).result());
        let second = smol::block_on(worker.run(move || thread::current().id()).result());
        assert_ne!(first, here);
        assert_eq!(first, second);
    }

    #[test]
    fn a_result_that_nobody_waits_for_harms_nothing() {
        let worker = Worker::start("test");
        drop(worker.run(|| 1));
        assert_eq!(smol::block_on(worker.run(|| 2).result()), 2);
    }
}
