//! How full a file system is, asked without ever waiting for one that does not answer.
//!
//! `statfs(2)` on a network mount whose server is gone waits for minutes in the kernel, where no signal reaches it. So those
//! are asked on a thread of their own, one question at a time for each mount; the caller waits for the answer
//! until its deadline and goes on without it. While a mount owes an answer it is not asked again and not waited for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sys::statfs::statfs;

/// Questions that may be unanswered at a time, each of which costs a thread.
const QUESTION_COUNT_MAX: usize = 16;

/// Bytes of a questioner's stack: it makes one call.
const STACK_BYTES: usize = 64 * 1024;

/// What `statfs(2)` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of a block: `f_bsize`.
    pub block_bytes: u64,
    /// Blocks in total.
    pub blocks: u64,
    /// Blocks free.
    pub blocks_free: u64,
    /// Blocks free for others than root.
    pub blocks_available: u64,
    /// Inodes in total.
    pub files: u64,
    /// Inodes free.
    pub files_free: u64,
}

/// The capacity of the file system at `path`. May wait for as long as the file system likes.
///
/// Errors: those of `statfs(2)`.
pub fn capacity(path: &Path) -> io::Result<Capacity> {
    let stat = statfs(path)?;
    // The kernel's types differ in width and sign from one architecture to the next; none of these is negative.
    #[allow(clippy::unnecessary_cast, reason = "the types are narrower on other architectures")]
    Ok(Capacity {
        block_bytes: stat.block_size() as u64,
        blocks: stat.blocks() as u64,
        blocks_free: stat.blocks_free() as u64,
        blocks_available: stat.blocks_available() as u64,
        files: stat.files() as u64,
        files_free: stat.files_free() as u64,
    })
}

/// Whether a file system of that type waits for another machine, or for a process of this one.
pub fn may_wait(fstype: &[u8]) -> bool {
    fstype.starts_with(b"fuse")
        || matches!(
            fstype,
            b"9p"
                | b"afs"
                | b"beegfs"
                | b"ceph"
                | b"cifs"
                | b"coda"
                | b"davfs"
                | b"gfs"
                | b"gfs2"
                | b"glusterfs"
                | b"gpfs"
                | b"lustre"
                | b"ncpfs"
                | b"nfs"
                | b"nfs4"
                | b"ocfs2"
                | b"orangefs"
                | b"prl_fs"
                | b"smb3"
                | b"smbfs"
                | b"vboxsf"
                | b"virtiofs"
        )
}

/// The questions to mounts that may not answer.
#[derive(Debug, Default)]
pub struct Inquiry {
    questions: Vec<Question>,
}

#[derive(Debug)]
struct Question {
    path: PathBuf,
    answer: Receiver<io::Result<Capacity>>,
    is_late: bool,
}

impl Inquiry {
    /// Nothing was asked yet.
    pub fn new() -> Inquiry {
        Inquiry::default()
    }

    /// Asks for the capacity of the file system at `path`, unless it still owes an answer.
    pub fn ask(&mut self, path: &Path) {
        self.ask_by(path, capacity);
    }

    /// The answer for `path`, waited for no longer than `wait`; nothing when there is none yet, or an error.
    pub fn answer(&mut self, path: &Path, wait: Duration) -> Option<Capacity> {
        let index = self.questions.iter().position(|question| question.path == path)?;
        let wait = if self.questions[index].is_late { Duration::ZERO } else { wait };
        match self.questions[index].answer.recv_timeout(wait) {
            Ok(answer) => {
                self.questions.swap_remove(index);
                answer.ok()
            }
            Err(_) => {
                self.questions[index].is_late = true;
                None
            }
        }
    }

    fn ask_by(&mut self, path: &Path, capacity: impl FnOnce(&Path) -> io::Result<Capacity> + Send + 'static) {
        // An answer that came too late says only that the mount answers again.
        self.questions.retain(|question| matches!(question.answer.try_recv(), Err(TryRecvError::Empty)));
        if self.questions.len() == QUESTION_COUNT_MAX || self.questions.iter().any(|question| question.path == path) {
            return;
        }
        let (sender, answer) = sync_channel(1);
        let asked = path.to_owned();
        // Whoever asked may be gone; the answer is dropped then.
        let spawned = thread::Builder::new().name("statfs".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let _ = sender.send(capacity(&asked));
        });
        if spawned.is_ok() {
            self.questions.push(Question { path: path.to_owned(), answer, is_late: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);
    const ANSWER: Capacity =
        Capacity { block_bytes: 1, blocks: 2, blocks_free: 3, blocks_available: 4, files: 5, files_free: 6 };

    #[test]
    fn a_real_file_system_answers() {
        let root = capacity(Path::new("/")).unwrap();
        assert!(root.block_bytes > 0 && root.blocks >= root.blocks_free && root.files >= root.files_free);
        let mut inquiry = Inquiry::new();
        inquiry.ask(Path::new("/"));
        assert_eq!(inquiry.answer(Path::new("/"), WAIT).unwrap().blocks, root.blocks);
        inquiry.ask(Path::new("/nowhere"));
        assert_eq!(inquiry.answer(Path::new("/nowhere"), WAIT), None);
        assert_eq!(inquiry.answer(Path::new("/never asked"), WAIT), None);
    }

    #[test]
    fn a_mount_that_does_not_answer_is_asked_once_and_not_waited_for_again() {
        let path = Path::new("/mnt/nas");
        let mut inquiry = Inquiry::new();
        let (server, waiting) = channel::<()>();
        let (asked, done) = channel();
        inquiry.ask_by(path, move |_| {
            let _ = waiting.recv();
            let _ = asked.send(());
            Ok(ANSWER)
        });
        assert_eq!(inquiry.answer(path, Duration::ZERO), None);
        // It owes an answer: this question is not asked, and the long wait not waited.
        inquiry.ask_by(path, |_| unreachable!("asked twice"));
        assert_eq!(inquiry.answer(path, WAIT), None);
        server.send(()).unwrap();
        done.recv().unwrap();
        // The late answer is forgotten once it arrived, and the next question gets its own.
        while !inquiry.questions.is_empty() {
            inquiry.questions.retain(|question| matches!(question.answer.try_recv(), Err(TryRecvError::Empty)));
        }
        inquiry.ask_by(path, |_| Ok(ANSWER));
        assert_eq!(inquiry.answer(path, WAIT), Some(ANSWER));
    }

    #[test]
    fn questions_are_bounded() {
        let mut inquiry = Inquiry::new();
        let (server, waiting) = channel::<()>();
        let waiting = std::sync::Arc::new(std::sync::Mutex::new(waiting));
        for number in 0..QUESTION_COUNT_MAX + 1 {
            let waiting = std::sync::Arc::clone(&waiting);
            inquiry.ask_by(Path::new(&format!("/mnt/{number}")), move |_| {
                let _ = waiting.lock().unwrap().recv();
                Ok(ANSWER)
            });
        }
        assert_eq!(inquiry.questions.len(), QUESTION_COUNT_MAX);
        drop(server);
    }

    #[test]
    fn network_file_systems_are_known_by_type() {
        for fstype in ["nfs4", "cifs", "fuse.sshfs", "fuseblk", "9p", "ceph"] {
            assert!(may_wait(fstype.as_bytes()), "{fstype}");
        }
        for fstype in ["ext4", "vfat", "tmpfs", "btrfs"] {
            assert!(!may_wait(fstype.as_bytes()), "{fstype}");
        }
    }
}
