//! What an administrator asks for, carried out.

use std::collections::BTreeSet;

use query::duration;
use query::selector::Selector;
use store::change::Change;
use wire::id::DeviceId;
use wire::limits::{EXTRACT_SPAN_MAX, SELECTOR_BYTES_MAX};
use wire::message::{CloseReason, Fetch};
use wire::time::{Stamp, UnixTime};

use super::commit::Then;
use super::{Hub, NEXT_KEY, Output};
use crate::fetches::{Asked, FETCH_COUNT_MAX};
use crate::fleet::{Device, LABEL_BYTES_MAX, Standing, TAG_COUNT_MAX, TOKEN_COUNT_MAX, Token};
use crate::request::{Member, Reply, Request, no_device};
use crate::session::PeerId;

impl Hub {
    pub(super) fn ask(&mut self, now: Stamp, id: u64, request: Request) {
        if let Request::Fetch { device, selector, from, to } = request {
            return match self.fetch(now, &device, &selector, (from, to)) {
                Ok((number, changes)) => self.commits.add_then(changes, Then::Fetch { id, number }),
                Err(reply) => self.outputs.push_back(Output::Reply { id, reply }),
            };
        }
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
            Request::TokenDelete { digits } => {
                let hash = self.find_token(&digits)?;
                Ok(vec![self.fleet.delete_token(hash)])
            }
            Request::TokenNew { hash, uses, expires_in, group, tags } => {
                for (key, value) in &tags {
                    check_label("tag", key)?;
                    check_label("tag", value)?;
                }
                group.iter().try_for_each(|group| check_label("group", group))?;
                if tags.len() > TAG_COUNT_MAX {
                    return Err(too_many_tags());
                }
                let mut changes = Vec::new();
                if self.fleet.tokens().count() >= TOKEN_COUNT_MAX {
                    changes.push(self.fleet.delete_ended_token(unix).ok_or_else(too_many_tokens)?);
                }
                let expires = expires_in.map(|span| UnixTime(unix.0.saturating_add(span.0)));
                let token = Token { hash, uses_left: uses, expires, group, tags, made: unix };
                changes.push(self.fleet.add_token(token));
                Ok(changes)
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
                let is_full = |device: &Device| device.tags.len() >= TAG_COUNT_MAX && !device.tags.contains_key(&key);
                if value.is_some() && self.fleet.device(id).is_some_and(is_full) {
                    return Err(too_many_tags());
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
                self.skipped_counts.remove(&id);
                let mut changes = self.fetches.forget(id);
                changes.extend([self.fleet.delete(id), Change::Forget { device: id }]);
                Ok(changes)
            }
            Request::Fetch { .. } => unreachable!("its reply has a number"),
            Request::Fetches => Err(Reply::Fetches(self.fetches.all().map(|asked| self.named(asked)).collect())),
            Request::FetchWithdraw { number } => match self.fetches.withdraw(number, unix) {
                Some(change) => Ok(vec![change]),
                None => Err(Reply::Refused(format!(
                    "no open request has the number {number}: `outpost-hub fetch` lists them"
                ))),
            },
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

    /// Makes a request to a device. Nobody is asked before it is durable.
    fn fetch(
        &mut self,
        now: Stamp,
        device: &str,
        selector: &str,
        (from, to): (UnixTime, UnixTime),
    ) -> Result<(u64, Vec<Change>), Reply> {
        let device = self.find(device)?;
        Selector::parse(selector)
            .map_err(|error| Reply::Refused(format!("this is no selector:\n{}", error.pointed(selector))))?;
        let too_long = |_| Reply::Refused(format!("a selector has {SELECTOR_BYTES_MAX} bytes at the most"));
        let fetch = Fetch { number: 0, selector: selector.try_into().map_err(too_long)?, from, to };
        if !fetch.is_valid() {
            let span = duration::format(EXTRACT_SPAN_MAX.0);
            return Err(Reply::Refused(format!("a request has a span of {span} at the most: ask for its parts")));
        }
        let added = self.fetches.add(device, fetch, now.unix.unwrap_or_default());
        added.ok_or_else(|| {
            Reply::Refused(format!(
                "{FETCH_COUNT_MAX} requests are open: withdraw one with `outpost-hub fetch --withdraw`"
            ))
        })
    }

    fn named(&self, asked: &Asked) -> (Asked, String) {
        let name = self.fleet.device(asked.device).map_or_else(|| asked.device.to_string(), |it| it.name.clone());
        (asked.clone(), name)
    }

    fn find(&self, name: &str) -> Result<DeviceId, Reply> {
        let device = self.fleet.by_name(name).map(|device| device.id);
        device.ok_or_else(|| Reply::Refused(no_device(name, self.fleet.devices())))
    }

    fn find_token(&self, digits: &str) -> Result<[u8; 32], Reply> {
        let digits = digits.to_ascii_lowercase();
        let meant: Vec<_> = self.fleet.tokens_by_digits(&digits).map(|token| token.hash).collect();
        match meant[..] {
            [hash] => Ok(hash),
            [] => Err(Reply::Refused(format!("no token begins with {digits}: `outpost-hub token list` lists them"))),
            _ => Err(Reply::Refused(format!("{} tokens begin with {digits}: give more digits", meant.len()))),
        }
    }

    fn members(&self) -> Vec<Member> {
        let online: BTreeSet<DeviceId> = self.sessions.values().filter_map(|s| Some(s.who.as_ref()?.device)).collect();
        let member = |device: &Device| Member {
            is_online: online.contains(&device.id),
            knows_next_key: self.next_key.is_none_or(|key| device.told_key == Some(key)),
            skipped_count: self.skipped_counts.get(&device.id).copied().unwrap_or_default(),
            device: device.clone(),
        };
        let mut members: Vec<Member> = self.fleet.devices().map(member).collect();
        members.sort_by(|one, other| one.device.name.cmp(&other.device.name));
        members
    }
}

fn too_many_tags() -> Reply {
    Reply::Refused(format!("a device has at most {TAG_COUNT_MAX} tags"))
}

fn too_many_tokens() -> Reply {
    Reply::Refused(format!(
        "{TOKEN_COUNT_MAX} tokens are open: withdraw some with `outpost-hub token delete`; one made with --uses lets in many"
    ))
}

fn check_label(what: &str, label: &str) -> Result<(), Reply> {
    if label.is_empty() || label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        return Err(Reply::Refused(format!("a {what} has 1 to {LABEL_BYTES_MAX} bytes and no control characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wire::time::Span;

    use super::*;
    use crate::fleet::TOKEN_KEPT;
    use crate::hub::OBSERVE_EVERY;
    use crate::stage::Stage;

    fn token(number: u16, expires_in: Option<Span>) -> Request {
        let mut hash = [0; 32];
        hash[..2].copy_from_slice(&number.to_be_bytes());
        Request::TokenNew { hash, uses: 1, expires_in, group: None, tags: [].into() }
    }

    fn refusal(reply: Reply) -> String {
        let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
        refusal
    }

    #[test]
    fn a_token_is_withdrawn_by_digits_that_mean_no_other() {
        let mut stage = Stage::new();
        for number in [0xab01, 0xab02] {
            assert_eq!(stage.ask(token(number, None)), Reply::Done);
        }
        let mut delete = |digits: &str| stage.ask(Request::TokenDelete { digits: digits.into() });
        assert!(refusal(delete("ab")).starts_with("2 tokens begin with ab:"));
        assert!(refusal(delete("cd")).starts_with("no token begins with cd:"));
        assert_eq!(delete("AB02"), Reply::Done);
        assert_eq!(delete("ab"), Reply::Done);
        assert!(refusal(delete("ab")).starts_with("no token"));
    }

    #[test]
    fn among_too_many_tokens_one_that_ended_gives_way() {
        let mut stage = Stage::new();
        let day = Span::minutes(24 * 60);
        for number in 0..TOKEN_COUNT_MAX as u16 {
            assert_eq!(stage.ask(token(number, (number == 7).then_some(day))), Reply::Done);
        }
        assert!(refusal(stage.ask(token(u16::MAX, None))).contains("token delete"));
        stage.pass(day);
        assert_eq!(stage.ask(token(u16::MAX, None)), Reply::Done);
        assert!(refusal(stage.ask(Request::TokenDelete { digits: "0007".into() })).starts_with("no token"));
        assert!(refusal(stage.ask(token(u16::MAX - 1, None))).contains("token delete"));
    }

    #[test]
    fn a_token_that_ended_long_ago_is_forgotten_without_being_asked() {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(token(1, Some(Span::minutes(1)))), Reply::Done);
        stage.pass(TOKEN_KEPT);
        stage.settle([]);
        assert_eq!(stage.rows.len(), 1);
        stage.pass(OBSERVE_EVERY);
        stage.settle([]);
        assert_eq!((stage.rows.len(), stage.ask(Request::Tokens)), (0, Reply::Tokens(Vec::new())));
    }

    #[test]
    fn a_device_with_all_its_tags_can_change_one() {
        let mut stage = Stage::new();
        let device = stage.enroll(1).to_string();
        let mut tag = |key: usize, value: &str| {
            stage.ask(Request::Tag { device: device.clone(), key: key.to_string(), value: Some(value.into()) })
        };
        for key in 0..TAG_COUNT_MAX {
            assert_eq!(tag(key, "a"), Reply::Done);
        }
        assert!(refusal(tag(TAG_COUNT_MAX, "a")).contains("at most 32 tags"));
        assert_eq!(tag(3, "b"), Reply::Done);
    }
}
