//! What an administrator asks for, carried out.

use store::change::Change;
use wire::id::DeviceId;
use wire::message::CloseReason;
use wire::time::{Stamp, UnixTime};

use super::commit::Then;
use super::{Hub, NEXT_KEY, Output};
use crate::fleet::{LABEL_BYTES_MAX, Standing, TAG_COUNT_MAX, Token};
use crate::request::{Member, Reply, Request};
use crate::session::PeerId;

impl Hub {
    pub(super) fn ask(&mut self, now: Stamp, id: u64, request: Request) {
        let reply = match self.carry_out(now, request) {
            Ok(changes) if !changes.is_empty() => {
                return self.commits.add_then(changes, Then::Reply { id });
            }
            Ok(_) => Reply::Done,
            Err(reply) => reply,
        };
        self.outputs.push_back(Output::Reply { id, reply });
    }

    /// The changes that a request leads to, or its reply where nothing changes.
    fn carry_out(&mut self, now: Stamp, request: Request) -> Result<Vec<Change>, Reply> {
        let unix = now.unix.unwrap_or_default();
        match request {
            Request::Fleet => Err(Reply::Fleet(self.members())),
            Request::Tokens => Err(Reply::Tokens(self.fleet.tokens().cloned().collect())),
            Request::TokenNew { hash, uses, expires_in, group, tags } => {
                for (key, value) in &tags {
                    check_label("tag", key)?;
                    check_label("tag", value)?;
                }
                group.iter().try_for_each(|group| check_label("group", group))?;
                let expires = expires_in.map(|span| UnixTime(unix.0.saturating_add(span.0)));
                let token = Token { hash, uses_left: uses, expires, group, tags, made: unix };
                Ok(vec![self.fleet.add_token(token)])
            }
            Request::Rename { device, name } => {
                check_label("name", &name)?;
                let id = self.find(&device)?;
                if self.fleet.by_name(&name).is_some_and(|other| other.id != id) {
                    return Err(Reply::Refused(format!("another device is called {name}")));
                }
                Ok(vec![self.fleet.change(id, |device| device.name = name)])
            }
            Request::Group { device, group } => {
                group.iter().try_for_each(|group| check_label("group", group))?;
                let id = self.find(&device)?;
                Ok(vec![self.fleet.change(id, |device| device.group = group)])
            }
            Request::Tag { device, key, value } => {
                check_label("tag", &key)?;
                value.iter().try_for_each(|value| check_label("tag", value))?;
                let id = self.find(&device)?;
                let tags = self.fleet.device(id).map_or(0, |device| device.tags.len());
                if value.is_some() && tags >= TAG_COUNT_MAX {
                    return Err(Reply::Refused(format!("a device has at most {TAG_COUNT_MAX} tags")));
                }
                Ok(vec![self.fleet.change(id, |device| {
                    match value {
                        Some(value) => device.tags.insert(key, value),
                        None => device.tags.remove(&key),
                    };
                })])
            }
            Request::Retire { device } => {
                let id = self.find(&device)?;
                let change = self.fleet.change(id, |device| device.standing = Standing::Retired);
                self.close_device(id, CloseReason::Retired);
                Ok(vec![change])
            }
            Request::Revoke { device } => {
                let id = self.find(&device)?;
                let change = self.fleet.change(id, |device| device.standing = Standing::Revoked);
                self.close_device(id, CloseReason::Revoked);
                Ok(vec![change])
            }
            Request::Delete { device } => {
                let id = self.find(&device)?;
                self.close_device(id, CloseReason::UnknownKey);
                Ok(vec![self.fleet.delete(id), Change::Forget { device: id }])
            }
            Request::AnnounceKey(key) => {
                self.next_key = key;
                // A welcome carries the announcement: everyone comes back for it.
                let peers: Vec<PeerId> = self.sessions.keys().copied().collect();
                peers.into_iter().for_each(|peer| self.close(peer, CloseReason::Shutdown, "the hub's key changes"));
                Ok(vec![match key {
                    Some(key) => Change::Put {
                        key: NEXT_KEY.to_vec(),
                        value: postcard::to_stdvec(&key).expect("a vector takes every byte"),
                    },
                    None => Change::Delete { key: NEXT_KEY.to_vec() },
                }])
            }
        }
    }

    fn find(&self, name: &str) -> Result<DeviceId, Reply> {
        self.fleet
            .by_name(name)
            .map(|device| device.id)
            .ok_or_else(|| Reply::Refused(format!("no device is called {name}: `outpost-hub fleet` lists them")))
    }

    fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self
            .fleet
            .devices()
            .map(|device| Member {
                is_online: self
                    .sessions
                    .values()
                    .any(|session| session.who.as_ref().is_some_and(|who| who.device == device.id)),
                knows_next_key: self.next_key.is_none_or(|key| device.told_key == Some(key)),
                device: device.clone(),
            })
            .collect();
        members.sort_by(|one, other| one.device.name.cmp(&other.device.name));
        members
    }
}

fn check_label(what: &str, label: &str) -> Result<(), Reply> {
    if label.is_empty() || label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        return Err(Reply::Refused(format!("a {what} has 1 to {LABEL_BYTES_MAX} bytes and no control characters")));
    }
    Ok(())
}
