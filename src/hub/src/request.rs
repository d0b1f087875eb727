//! What an administrator may ask for, and the answers.
//!
//! Questions about samples and events go to the store; these are the ones that the core answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::id::DeviceId;
use wire::message::Fingerprint;
use wire::time::{Span, UnixTime};

use crate::fetches::Asked;
use crate::fleet::{Device, Token};

/// Something to do or to tell. Devices are named by name or number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Who is in the fleet.
    Fleet,
    /// Withdraw a token; who came in with it stays.
    TokenDelete {
        /// Hexadecimal digits with which the hash of no other token begins.
        digits: String,
    },
    /// Make a token; the asker keeps the secret.
    TokenNew {
        /// SHA-256 of the secret.
        hash: [u8; 32],
        /// How often it can be used.
        uses: u32,
        /// How long it lasts.
        expires_in: Option<Span>,
        /// The group of what it lets in.
        group: Option<String>,
        /// The tags of what it lets in.
        tags: BTreeMap<String, String>,
    },
    /// Which tokens there are.
    Tokens,
    /// Give a device another name.
    Rename {
        /// Which.
        device: String,
        /// The new name.
        name: String,
    },
    /// Put a device into a group, or out of all.
    Group {
        /// Which.
        device: String,
        /// The group.
        group: Option<String>,
    },
    /// Set a tag, or remove it.
    Tag {
        /// Which.
        device: String,
        /// The tag's key.
        key: String,
        /// The tag's value; none removes it.
        value: Option<String>,
    },
    /// Take a device out of service; its history stays.
    Retire {
        /// Which.
        device: String,
    },
    /// Trust a device's keys no more.
    Revoke {
        /// Which.
        device: String,
    },
    /// Forget a device and everything it sent.
    Delete {
        /// Which.
        device: String,
    },
    /// Ask a device for ticks that it has not sent.
    Fetch {
        /// Which device.
        device: String,
        /// Which series, as a selector.
        selector: String,
        /// The first moment that is meant.
        from: UnixTime,
        /// The last.
        to: UnixTime,
    },
    /// What devices were asked for.
    Fetches,
    /// Ask a device for something no more.
    FetchWithdraw {
        /// The request's number.
        number: u64,
    },
    /// Announce the key that the hub will change to; none takes the announcement back.
    AnnounceKey(Option<Fingerprint>),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done and durable.
    Done,
    /// To [`Request::Fetch`]: it is durable.
    Fetch {
        /// Its number.
        number: u64,
        /// Whether the device is connected.
        is_online: bool,
    },
    /// To [`Request::Fetches`]: oldest first, with the names of the devices.
    Fetches(Vec<(Asked, String)>),
    /// To [`Request::Fleet`]: by name.
    Fleet(Vec<Member>),
    /// To [`Request::Tokens`].
    Tokens(Vec<Token>),
    /// It cannot be done: what to tell the person.
    Refused(String),
}

/// One device as the fleet's table shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What is kept of it.
    pub device: Device,
    /// Whether it is connected now.
    pub is_online: bool,
    /// Whether it has heard of the key that the hub will change to; true when there is none.
    pub knows_next_key: bool,
    /// Its messages of kinds that this hub does not know and passed over, since the hub's process began.
    pub skipped_count: u64,
}

impl Member {
    /// The device's number.
    pub fn id(&self) -> DeviceId {
        self.device.id
    }

    /// How long ago the device was heard.
    pub fn silence(&self, now: UnixTime) -> Option<Span> {
        self.device.heard.map(|heard| Span(now.0.saturating_sub(heard.0)))
    }
}

/// What to say of a device that there is not: with the name that is nearest among `devices`, if one is near.
pub fn no_device<'a>(name: &str, devices: impl IntoIterator<Item = &'a Device>) -> String {
    let near = query::suggest::near(name, devices.into_iter().map(|device| device.name.as_str()));
    match near.first() {
        Some(near) => format!("no device is called {name}; did you mean {near}?"),
        None => format!("no device is called {name}: `outpost-hub fleet` lists them"),
    }
}
