//! Where calls are answered: some by the core, some by the store, and the keys here.

use std::net::SocketAddr;
use std::sync::Arc;

use hub::fleet::Standing;
use hub::request::{Member, Reply, Request};
use identity::key::Key;
use store::Store;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};

use crate::books;
use crate::call::{Call, HubIs, Outcome};
use crate::driver::Ask;
use crate::keys::{Keys, KeysError, Shown};
use crate::log::{self, Level};
use crate::samples;
use crate::store_handle::StoreHandle;
use crate::usage;

/// Questions to the store at once. Each may hold [`samples::SAMPLE_COUNT_MAX`] samples, and a processor.
const QUESTION_COUNT_MAX: usize = 2;

/// Names in a sentence.
const NAME_COUNT_MAX: usize = 20;

/// Answers calls.
#[derive(Debug)]
pub struct Desk {
    address: SocketAddr,
    store: Arc<StoreHandle>,
    asks: mpsc::Sender<Ask>,
    shown: watch::Sender<Arc<Shown>>,
    /// Held while keys change.
    keys: Mutex<Keys>,
    questions: Semaphore,
}

impl Desk {
    /// A desk of the process that listens on `address`; changes of the key go to `shown`.
    pub fn new(
        address: SocketAddr,
        store: Arc<StoreHandle>,
        asks: mpsc::Sender<Ask>,
        shown: watch::Sender<Arc<Shown>>,
        keys: Keys,
    ) -> Desk {
        let questions = Semaphore::new(QUESTION_COUNT_MAX);
        Desk { address, store, asks, shown, keys: Mutex::new(keys), questions }
    }

    /// Does what is called for.
    pub async fn outcome(&self, call: Call) -> Outcome {
        let outcome = match call {
            Call::Admin(request) => self.ask(request).await.map(Outcome::Admin),
            Call::Events(call) => {
                self.question(move |store, members| books::events(store, members, &call)).await.map(Outcome::Events)
            }
            Call::Hub => self.hub().await,
            Call::KeyActivate { is_forced } => self.activate(is_forced).await,
            Call::KeyRotate => self.rotate().await,
            Call::Samples(call) => {
                self.question(move |store, members| samples::samples(store, members, &call)).await.map(Outcome::Samples)
            }
            Call::Stat => self.question(books::stat).await.map(Outcome::Stat),
            Call::Usage(call) => {
                self.question(move |store, members| usage::usage(store, members, &call)).await.map(Outcome::Usage)
            }
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    async fn ask(&self, request: Request) -> Result<Reply, String> {
        let (reply, answer) = oneshot::channel();
        let is_gone = "the hub is shutting down";
        self.asks.send(Ask { request, reply }).await.map_err(|_| is_gone)?;
        Ok(answer.await.map_err(|_| is_gone)?)
    }

    async fn members(&self) -> Result<Vec<Member>, String> {
        match self.ask(Request::Fleet).await? {
            Reply::Fleet(members) => Ok(members),
            Reply::Refused(refusal) => Err(refusal),
            Reply::Done | Reply::Fetch { .. } | Reply::Fetches(_) | Reply::Tokens(_) => {
                unreachable!("the core answers what it was asked")
            }
        }
    }

    async fn announce(&self, next: Option<&Key>) -> Result<(), String> {
        match self.ask(Request::AnnounceKey(next.map(Key::fingerprint))).await? {
            Reply::Refused(refusal) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Answers from the store, on a thread that may block.
    async fn question<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&Store, &[Member]) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let members = self.members().await?;
        let _permit = self.questions.acquire().await.expect("the semaphore is never closed");
        let store = self.store.clone();
        let answered = tokio::task::spawn_blocking(move || store.read(|store| answer(store, &members)));
        answered.await.expect("a panic ends the process").map_err(|error| error.to_string())?
    }

    async fn hub(&self) -> Result<Outcome, String> {
        let key = on_disk(self.keys.lock().await.clone(), |keys| keys.present()).await?;
        let key = key.ok_or("the hub's key is gone from its folder: restore it from a copy")?;
        Ok(Outcome::Hub(HubIs { key: key.fingerprint(), address: self.address.to_string() }))
    }

    async fn rotate(&self) -> Result<Outcome, String> {
        let keys = self.keys.lock().await;
        let next = on_disk(keys.clone(), |keys| keys.make_next()).await?;
        self.announce(Some(&next)).await?;
        log::write(Level::Info, "next key announced", &[("key", &next.fingerprint())]);
        Ok(Outcome::Key(next.fingerprint()))
    }

    async fn activate(&self, is_forced: bool) -> Result<Outcome, String> {
        let keys = self.keys.lock().await;
        if !is_forced {
            let members = self.members().await?;
            let unaware: Vec<&str> = members
                .iter()
                .filter(|member| member.device.standing == Standing::Active && !member.knows_next_key)
                .map(|member| member.device.name.as_str())
                .collect();
            if !unaware.is_empty() {
                return Err(refusal(&unaware));
            }
        }
        let key = on_disk(keys.clone(), |keys| keys.activate()).await?;
        let fingerprint = key.fingerprint();
        // Links that stand keep the key that they were opened under.
        self.shown.send_replace(Shown::new(key));
        log::write(Level::Info, "key activated", &[("key", &fingerprint)]);
        // The key is changed, whatever becomes of this: the announcement is taken back at the next start at the latest.
        if let Err(error) = self.announce(None).await {
            log::write(Level::Warning, "announcement of the key not taken back", &[("error", &error)]);
        }
        Ok(Outcome::Key(fingerprint))
    }
}

async fn on_disk<T: Send + 'static>(
    keys: Keys,
    change: impl FnOnce(&Keys) -> Result<T, KeysError> + Send + 'static,
) -> Result<T, String> {
    let changed = tokio::task::spawn_blocking(move || change(&keys)).await;
    changed.expect("a panic ends the process").map_err(|error| error.to_string())
}

fn refusal(unaware: &[&str]) -> String {
    let named = unaware.iter().take(NAME_COUNT_MAX).copied().collect::<Vec<_>>().join(", ");
    let more = match unaware.len().saturating_sub(NAME_COUNT_MAX) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let (count, have) =
        if unaware.len() == 1 { ("1 device", "has") } else { (&*format!("{} devices", unaware.len()), "have") };
    format!(
        "{count} {have} not heard of the next key: {named}{more}
they hear of it when they connect; with --force they are left behind and must be enrolled again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_would_be_left_behind_is_named() {
        assert!(refusal(&["gw-1"]).starts_with("1 device has not heard of the next key: gw-1\n"));
        let names: Vec<String> = (0..30).map(|number| format!("gw-{number}")).collect();
        let text = refusal(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(text.starts_with("30 devices have") && text.contains("gw-19 and 10 more\n"), "{text}");
    }
}
