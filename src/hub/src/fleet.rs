//! Devices, their keys and names; enrolment tokens.
//!
//! Each device and each token is one row of the state store, written whole when it changes:
//!
//! ```text
//! device/<id, 16 hex digits>      postcard Device
//! token/<hash, 64 hex digits>     postcard Token
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity::noise::enrolment::TokenKey;
use serde::{Deserialize, Serialize};
use store::change::Change;
use wire::id::{DeviceId, JournalId};
use wire::message::{Checksum, CloseReason, DatagramKey, Fingerprint};
use wire::time::{Span, UnixTime};

/// Keys that one device may speak with: the present one and, while it rotates, the next.
pub const KEY_COUNT_MAX: usize = 2;

/// Tags on one device.
pub const TAG_COUNT_MAX: usize = 32;

/// Bytes of a name, a group, a tag's key or value.
pub const LABEL_BYTES_MAX: usize = 128;

/// Tokens that are kept. Those that let nobody in any more give way to new ones, the longest ended first.
pub const TOKEN_COUNT_MAX: usize = 4096;

/// How long a token is kept after its end. A machine that was prepared with it may lie in a box for weeks, and whoever
/// unpacks it is to hear that its token is used or expired, not that there was never such a token.
pub const TOKEN_KEPT: Span = Span::minutes(90 * 24 * 60);

/// Bytes of what tells devices of one name apart: a dash and a number.
const SUFFIX_BYTES_MAX: usize = 21;

const DEVICE: &str = "device/";
const TOKEN: &str = "token/";

/// Where a device stands. The order is that in the store: add at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Standing {
    /// It may connect, and its silence means something.
    Active,
    /// It left, or was taken out of service: its silence means nothing, its history stays.
    Retired,
    /// Its key is not to be trusted.
    Revoked,
}

/// What the hub knows of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its number.
    pub id: DeviceId,
    /// Its name, unique in the fleet.
    pub name: String,
    /// The group it belongs to.
    pub group: Option<String>,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// Keys that it may speak with, oldest first.
    pub keys: Vec<Fingerprint>,
    /// The same on datagrams, as far as they are known.
    pub datagram_keys: BTreeMap<Fingerprint, DatagramKey>,
    /// The key that it was last told the hub will change to.
    pub told_key: Option<Fingerprint>,
    /// Where it stands.
    pub standing: Standing,
    /// When it enrolled.
    pub enrolled: UnixTime,
    /// When it was last heard.
    pub heard: Option<UnixTime>,
    /// The life of its journal that it last spoke of.
    pub journal: Option<JournalId>,
    /// The one before.
    pub former_journal: Option<JournalId>,
    /// When two machines were last seen to speak with its key.
    pub cloned: Option<UnixTime>,
    /// Batches that it has and that are neither held nor lost, as far as is known.
    pub backlog_count: u64,
    /// Its clock less the hub's in ms, when it last said; none when it did not know the time.
    pub clock_offset_ms: Option<i64>,
    /// The checksum of what it said of itself, once it did.
    pub about: Option<Checksum>,
    /// Its agent's version.
    pub version: String,
    /// What the machine calls itself.
    pub hostname: String,
}

impl Device {
    /// An active device without a key that was never heard of.
    pub fn new(id: DeviceId, name: String) -> Device {
        Device {
            id,
            name,
            group: None,
            tags: BTreeMap::new(),
            keys: Vec::new(),
            datagram_keys: BTreeMap::new(),
            told_key: None,
            standing: Standing::Active,
            enrolled: UnixTime(0),
            heard: None,
            journal: None,
            former_journal: None,
            cloned: None,
            backlog_count: 0,
            clock_offset_ms: None,
            about: None,
            version: String::new(),
            hostname: String::new(),
        }
    }
}

/// A token that lets machines in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// SHA-256 of its secret; the secret itself is nowhere.
    pub hash: [u8; 32],
    /// How often it can still be used.
    pub uses_left: u32,
    /// When it ends, or ended: the last use ends it too.
    pub expires: Option<UnixTime>,
    /// The group of what it lets in.
    pub group: Option<String>,
    /// The tags of what it lets in.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub made: UnixTime,
}

/// All devices and tokens, in memory.
#[derive(Debug, Default)]
pub struct Fleet {
    devices: BTreeMap<DeviceId, Device>,
    tokens: BTreeMap<[u8; 32], Token>,
    token_names: TokenNames,
}

/// The hash of each token by what it is named on datagrams (`identity::noise::enrolment`). It is shared with those who read there, and
/// another one as soon as there are other tokens.
pub type TokenNames = Arc<BTreeMap<[u8; 32], [u8; 32]>>;

/// What an enrolment led to: the device, and the rows to make durable before it is told.
#[derive(Debug)]
pub struct Enrolment {
    /// The device.
    pub device: Device,
    /// Rows to commit.
    pub changes: Vec<Change>,
}

impl Fleet {
    /// Takes the rows of the state store. Returns the keys of rows that do not read: a newer version wrote them.
    pub fn load(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> (Fleet, Vec<Vec<u8>>) {
        let (mut fleet, mut unread) = (Fleet::default(), Vec::new());
        for (key, value) in rows {
            if key.starts_with(DEVICE.as_bytes())
                && let Ok(device) = postcard::from_bytes::<Device>(&value)
            {
                fleet.devices.insert(device.id, device);
            } else if key.starts_with(TOKEN.as_bytes())
                && let Ok(token) = postcard::from_bytes::<Token>(&value)
            {
                fleet.add_token(token);
            } else {
                unread.push(key);
            }
        }
        (fleet, unread)
    }

    /// The devices, by number.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// The tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    /// The tokens' names on datagrams.
    pub fn token_names(&self) -> &TokenNames {
        &self.token_names
    }

    /// One device.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.get(&id)
    }

    /// The device that speaks with this key.
    pub fn by_key(&self, key: Fingerprint) -> Option<&Device> {
        self.devices.values().find(|device| device.keys.contains(&key))
    }

    /// The key that is this one on datagrams.
    pub fn by_datagram_key(&self, datagram_key: DatagramKey) -> Option<Fingerprint> {
        let known = self.devices.values().flat_map(|device| &device.datagram_keys);
        known.into_iter().find(|(_, known)| **known == datagram_key).map(|(key, _)| *key)
    }

    /// Notes what a device's key is on datagrams, and returns its row; `None` when that is no news, or another device's.
    pub fn learn_datagram_key(&mut self, key: Fingerprint, datagram_key: DatagramKey) -> Option<Change> {
        let id = self.by_key(key)?.id;
        if self.by_datagram_key(datagram_key).is_some() {
            return None;
        }
        Some(self.change(id, |device| {
            device.datagram_keys.insert(key, datagram_key);
            let keys = device.keys.clone();
            device.datagram_keys.retain(|key, _| keys.contains(key));
        }))
    }

    /// The device of this name or number.
    pub fn by_name(&self, name: &str) -> Option<&Device> {
        let by_id = name.parse().ok().and_then(|id| self.devices.get(&id));
        self.devices.values().find(|device| device.name == name).or(by_id)
    }

    /// Adds a device as it is and returns its row.
    pub fn add_device(&mut self, device: Device) -> Change {
        let change = put_device(&device);
        self.devices.insert(device.id, device);
        change
    }

    /// Changes a device and returns its row.
    ///
    /// Panics: when there is no such device.
    pub fn change(&mut self, id: DeviceId, change: impl FnOnce(&mut Device)) -> Change {
        let device = self.devices.get_mut(&id).expect("the caller found the device");
        change(device);
        put_device(device)
    }

    /// Changes what is seen of a device with every word of it. Not worth a commit of its own: see [`Fleet::row`].
    pub fn observe(&mut self, id: DeviceId, observe: impl FnOnce(&mut Device)) {
        if let Some(device) = self.devices.get_mut(&id) {
            observe(device);
        }
    }

    /// A device's row as it stands.
    pub fn row(&self, id: DeviceId) -> Option<Change> {
        self.devices.get(&id).map(put_device)
    }

    /// Forgets a device and returns its row's removal.
    pub fn delete(&mut self, id: DeviceId) -> Change {
        self.devices.remove(&id);
        Change::Delete { key: device_key(id) }
    }

    /// Adds a token and returns its row.
    pub fn add_token(&mut self, token: Token) -> Change {
        let change = put_token(&token);
        Arc::make_mut(&mut self.token_names).insert(TokenKey::new(&token.hash).name, token.hash);
        self.tokens.insert(token.hash, token);
        change
    }

    /// The tokens whose hash begins with these hexadecimal digits.
    pub fn tokens_by_digits<'a>(&'a self, digits: &'a str) -> impl Iterator<Item = &'a Token> {
        let is_meant = move |token: &&Token| Fingerprint(token.hash).to_string().starts_with(digits);
        self.tokens.values().filter(is_meant)
    }

    /// Forgets a token and returns its row's removal.
    pub fn delete_token(&mut self, hash: [u8; 32]) -> Change {
        Arc::make_mut(&mut self.token_names).remove(&TokenKey::new(&hash).name);
        self.tokens.remove(&hash);
        Change::Delete { key: token_key(hash) }
    }

    /// Forgets the token that ended first of all that have, and returns its row's removal. None when all are good.
    pub fn delete_ended_token(&mut self, now: UnixTime) -> Option<Change> {
        let ended = self.tokens.values().filter(|token| token.expires.is_some_and(|expires| expires <= now));
        let hash = ended.min_by_key(|token| token.expires)?.hash;
        Some(self.delete_token(hash))
    }

    /// Forgets the tokens that ended more than [`TOKEN_KEPT`] ago and returns their rows' removals.
    pub fn delete_old_tokens(&mut self, now: UnixTime) -> Vec<Change> {
        let is_old = |token: &Token| token.expires.is_some_and(|ended| ended.0.saturating_add(TOKEN_KEPT.0) <= now.0);
        let old: Vec<[u8; 32]> = self.tokens.values().filter(|token| is_old(token)).map(|token| token.hash).collect();
        old.into_iter().map(|hash| self.delete_token(hash)).collect()
    }

    /// Lets a machine in, or says why not. A machine whose key is known and active is told again what it was told before,
    /// so that an answer lost on the way costs no second use.
    pub fn enroll(
        &mut self,
        key: Fingerprint,
        secret: &[u8; 16],
        hostname: &str,
        version: &str,
        now: UnixTime,
    ) -> Result<Enrolment, CloseReason> {
        if let Some(device) = self.by_key(key) {
            match device.standing {
                Standing::Active => {
                    // Its row again: the commit of the first time may have failed.
                    return Ok(Enrolment { device: device.clone(), changes: vec![put_device(device)] });
                }
                Standing::Revoked => return Err(CloseReason::Revoked),
                Standing::Retired => {}
            }
        }
        let hash = identity::token::secret_hash(secret);
        let token = self.tokens.get_mut(&hash).ok_or(CloseReason::TokenUnknown)?;
        if token.uses_left == 0 {
            return Err(CloseReason::TokenUsed);
        }
        if token.expires.is_some_and(|expires| expires <= now) {
            return Err(CloseReason::TokenExpired);
        }
        token.uses_left -= 1;
        if token.uses_left == 0 {
            token.expires = Some(now);
        }
        let token = token.clone();

        let known = self.by_key(key).cloned();
        let mut device = known.unwrap_or_else(|| self.new_device(key, hostname));
        // What comes back stays what it was, unless the token says otherwise.
        device.group = token.group.clone().or(device.group);
        if !token.tags.is_empty() {
            device.tags = token.tags.clone();
        }
        device.keys = vec![key];
        device.told_key = None;
        device.standing = Standing::Active;
        device.enrolled = now;
        device.version = version.into();
        device.hostname = hostname.into();
        Ok(Enrolment { changes: vec![self.add_device(device.clone()), put_token(&token)], device })
    }

    /// A device that was never heard of, with a number and a name of its own.
    fn new_device(&self, key: Fingerprint, hostname: &str) -> Device {
        Device::new(self.free_id(key), self.free_name(&name_of(hostname)))
    }

    /// The number that the key stands for, or the next that is free: a device that changed its key keeps its number, and
    /// whoever finds the old key does not get it with a new token.
    fn free_id(&self, key: Fingerprint) -> DeviceId {
        let first = identity::key::device_id(key).0;
        let mut ids = (0..).map(|step| DeviceId(first.wrapping_add(step)));
        ids.find(|id| !self.devices.contains_key(id)).expect("numbers do not end")
    }

    /// `wanted`, or `wanted-2` and so on when it is taken, as a name or as a number.
    pub fn free_name(&self, wanted: &str) -> String {
        let mut end = wanted.len().min(LABEL_BYTES_MAX - SUFFIX_BYTES_MAX);
        while !wanted.is_char_boundary(end) {
            end -= 1;
        }
        let wanted = &wanted[..end];
        let names: BTreeSet<&str> = self.devices.values().map(|device| device.name.as_str()).collect();
        let is_id = |name: &str| name.parse().is_ok_and(|id: DeviceId| self.devices.contains_key(&id));
        let is_free = |name: &str| !names.contains(name) && !is_id(name);
        if is_free(wanted) {
            return wanted.to_owned();
        }
        (2u64..).map(|number| format!("{wanted}-{number}")).find(|name| is_free(name)).expect("numbers do not end")
    }
}

/// A device's name from what the machine calls itself. It is shown on terminals and typed into them.
fn name_of(hostname: &str) -> String {
    let name: String = hostname.trim().chars().filter(|character| !character.is_control()).collect();
    if name.is_empty() { "device".into() } else { name }
}

fn device_key(id: DeviceId) -> Vec<u8> {
    format!("{DEVICE}{id}").into_bytes()
}

fn put_device(device: &Device) -> Change {
    let value = postcard::to_stdvec(device).expect("a vector takes every byte");
    Change::Put { key: device_key(device.id), value }
}

fn token_key(hash: [u8; 32]) -> Vec<u8> {
    format!("{TOKEN}{}", Fingerprint(hash)).into_bytes()
}

fn put_token(token: &Token) -> Change {
    Change::Put { key: token_key(token.hash), value: postcard::to_stdvec(token).expect("a vector takes every byte") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(uses_left: u32, expires: Option<UnixTime>) -> Fleet {
        let mut fleet = Fleet::default();
        let hash = identity::token::secret_hash(&[7; 16]);
        let tags = BTreeMap::from([("site".into(), "north".into())]);
        let made = UnixTime(1);
        fleet.add_token(Token { hash, uses_left, expires, group: Some("pumps".into()), tags, made });
        fleet
    }

    fn enroll(fleet: &mut Fleet, key: u8, now: u64) -> Result<Enrolment, CloseReason> {
        fleet.enroll(Fingerprint([key; 32]), &[7; 16], "gw", "0.1.0", UnixTime(now))
    }

    #[test]
    fn a_token_lets_in_as_many_as_it_has_uses() {
        let mut fleet = fleet(2, None);
        let first = enroll(&mut fleet, 1, 10).unwrap();
        assert_eq!((first.device.name.as_str(), first.device.group.as_deref()), ("gw", Some("pumps")));
        assert_eq!(enroll(&mut fleet, 2, 10).unwrap().device.name, "gw-2");
        assert_eq!(enroll(&mut fleet, 3, 10).unwrap_err(), CloseReason::TokenUsed);
    }

    #[test]
    fn a_machine_is_called_what_it_calls_itself_less_what_moves_a_cursor() {
        assert_eq!(name_of(" gw-1\n"), "gw-1");
        assert_eq!(name_of("\u{1b}[2Jgw"), "[2Jgw");
        assert_eq!(name_of(" \u{7}"), "device");
    }

    #[test]
    fn asking_again_with_the_same_key_costs_no_use() {
        let mut fleet = fleet(1, None);
        let device = enroll(&mut fleet, 1, 10).unwrap().device;
        let again = enroll(&mut fleet, 1, 11).unwrap();
        assert_eq!(again.device, device);
        assert_eq!(again.changes, [put_device(&device)], "the token is not touched");
    }

    #[test]
    fn each_reason_for_a_no_is_its_own() {
        assert_eq!(enroll(&mut Fleet::default(), 1, 10).unwrap_err(), CloseReason::TokenUnknown);
        let mut fleet = fleet(9, Some(UnixTime(100)));
        let id = enroll(&mut fleet, 1, 99).unwrap().device.id;
        assert_eq!(enroll(&mut fleet, 2, 100).unwrap_err(), CloseReason::TokenExpired);
        fleet.change(id, |device| device.standing = Standing::Revoked);
        assert_eq!(enroll(&mut fleet, 1, 50).unwrap_err(), CloseReason::Revoked);
    }

    #[test]
    fn a_token_is_kept_for_a_while_after_its_end_and_then_forgotten() {
        let check = |fleet: &mut Fleet, end: u64| {
            assert_eq!(fleet.delete_old_tokens(UnixTime(end + TOKEN_KEPT.0 - 1)), []);
            let hash = identity::token::secret_hash(&[7; 16]);
            assert_eq!(
                fleet.delete_old_tokens(UnixTime(end + TOKEN_KEPT.0)),
                [Change::Delete { key: token_key(hash) }]
            );
            assert_eq!(fleet.tokens().count(), 0);
        };
        check(&mut fleet(1, Some(UnixTime(100))), 100);
        for expires in [None, Some(UnixTime(100))] {
            let mut used = fleet(1, expires);
            enroll(&mut used, 1, 50).unwrap();
            assert_eq!(enroll(&mut used, 2, 200).unwrap_err(), CloseReason::TokenUsed);
            check(&mut used, 50);
        }
        assert_eq!(fleet(1, None).delete_old_tokens(UnixTime(u64::MAX)), []);
    }

    #[test]
    fn a_token_has_its_name_as_long_as_it_is_kept() {
        let mut fleet = fleet(1, None);
        let hash = identity::token::secret_hash(&[7; 16]);
        let name = TokenKey::new(&hash).name;
        enroll(&mut fleet, 1, 10).unwrap();
        let shared = fleet.token_names().clone();
        assert_eq!(shared.get(&name), Some(&hash), "who comes again with it is told again what it was told");
        fleet.delete_token(hash);
        assert_eq!((fleet.token_names().len(), shared.len()), (0, 1));
    }

    #[test]
    fn the_key_before_the_present_one_does_not_open_a_device_again() {
        let mut fleet = fleet(2, None);
        let id = enroll(&mut fleet, 1, 10).unwrap().device.id;
        fleet.change(id, |device| device.keys = vec![Fingerprint([5; 32])]);
        let other = enroll(&mut fleet, 1, 20).unwrap().device;
        assert!(other.id != id && other.name == "gw-2", "{other:?}");
        assert_eq!(fleet.by_key(Fingerprint([5; 32])).unwrap().id, id);
    }

    #[test]
    fn a_name_fits_and_is_no_other_device_s_name_or_number() {
        let mut fleet = fleet(1, None);
        let id = enroll(&mut fleet, 1, 10).unwrap().device.id;
        assert_eq!(
            fleet.free_name("ip-10-0-0-1.eu-central-1.compute.internal"),
            "ip-10-0-0-1.eu-central-1.compute.internal"
        );
        assert_eq!(fleet.free_name(&id.to_string()), format!("{id}-2"));
        let long = fleet.free_name(&"ü".repeat(200));
        fleet.change(id, |device| device.name = long.clone());
        assert_eq!(fleet.free_name(&"ü".repeat(200)), format!("{long}-2"));
        assert!(long.len() + SUFFIX_BYTES_MAX <= LABEL_BYTES_MAX);
    }

    #[test]
    fn a_retired_device_comes_back_under_its_name_with_its_labels() {
        let mut fleet = fleet(2, None);
        let id = enroll(&mut fleet, 1, 10).unwrap().device.id;
        let retire = |fleet: &mut Fleet| {
            fleet.change(id, |device| {
                device.standing = Standing::Retired;
                device.name = "pump-7".into();
                device.group = Some("north".into());
            });
        };
        retire(&mut fleet);
        let back = enroll(&mut fleet, 1, 20).unwrap().device;
        assert_eq!((back.id, back.name.as_str(), back.standing), (id, "pump-7", Standing::Active));
        assert_eq!(back.group.as_deref(), Some("pumps"), "the token says so");

        retire(&mut fleet);
        let (hash, made) = (identity::token::secret_hash(&[8; 16]), UnixTime(1));
        fleet.add_token(Token { hash, uses_left: 1, expires: None, group: None, tags: BTreeMap::new(), made });
        let back = fleet.enroll(Fingerprint([1; 32]), &[8; 16], "gw", "0.1.0", UnixTime(30)).unwrap().device;
        assert_eq!((back.group.as_deref(), back.tags.len()), (Some("north"), 1), "this one says nothing of it");
    }

    #[test]
    fn rows_come_back_and_a_foreign_one_is_named() {
        let mut fleet = fleet(2, None);
        let mut rows = Vec::new();
        for change in enroll(&mut fleet, 1, 10).unwrap().changes {
            let Change::Put { key, value } = change else { panic!("rows are put") };
            rows.push((key, value));
        }
        rows.push((b"device/zz".to_vec(), b"\xff".to_vec()));
        let (back, unread) = Fleet::load(rows);
        assert_eq!(back.devices().collect::<Vec<_>>(), fleet.devices().collect::<Vec<_>>());
        assert_eq!(back.tokens().collect::<Vec<_>>(), fleet.tokens().collect::<Vec<_>>());
        assert_eq!(unread, [b"device/zz".to_vec()]);
    }
}
