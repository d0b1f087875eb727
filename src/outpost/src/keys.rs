//! The device's key, and the next one while it rotates.
//!
//! ```text
//!              device.key      device.key.next      the hub knows
//!  begin       old             -                    old
//!  stored      old             new                  old
//!  answered    old             new                  old, new      until one speaks with new
//!  promoted    new             -                    old, new
//!  spoken      new             -                    new
//! ```
//!
//! The power may be cut between any two lines. Whichever files are found then, one of the keys in them is known to the
//! hub: a hub that refuses one is shown the other at the next dial ([`Turn`]), and when a link comes up with the next
//! key, the next key is the key.

use identity::key::Key;
use identity::key_file;

use crate::failure::Failure;
use crate::state::StateFolder;

const CURRENT: &str = "device.key";
const NEXT: &str = "device.key.next";

/// The keys that this device may speak with.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The one that it speaks with.
    pub(crate) current: Key,
    /// The one that it changes to, if it does.
    pub(crate) next: Option<Key>,
}

impl Keys {
    /// Reads them; `None` when there is none yet.
    ///
    /// Errors: the key cannot be read, or is damaged.
    pub(crate) fn load(folder: &StateFolder) -> Result<Option<Keys>, Failure> {
        let current = read(folder, CURRENT)?;
        // A next key that cannot be read is no next key: `rotate` makes another.
        let next = read(folder, NEXT).unwrap_or_default();
        Ok(current.map(|current| Keys { current, next }))
    }

    /// Reads them, or makes the first one.
    pub(crate) fn load_or_generate(folder: &StateFolder) -> Result<Keys, Failure> {
        if let Some(keys) = Keys::load(folder)? {
            return Ok(keys);
        }
        let current = Key::generate();
        write(folder, CURRENT, &current)?;
        Ok(Keys { current, next: None })
    }

    /// Makes sure that there is a next key, durable before anyone hears of it. One that is there already may be what
    /// the hub knows, and stays.
    pub(crate) fn begin_rotation(&mut self, folder: &StateFolder) -> Result<&Key, Failure> {
        if self.next.is_none() {
            let next = Key::generate();
            write(folder, NEXT, &next)?;
            self.next = Some(next);
        }
        Ok(self.next.as_ref().expect("it was made above"))
    }

    /// The key of this turn; the current one when there is no next.
    pub(crate) fn of(&self, turn: Turn) -> &Key {
        match (turn, &self.next) {
            (Turn::Next, Some(next)) => next,
            _ => &self.current,
        }
    }
}

/// The hub knows the next key: from now on it is the key. Nothing happens when there is none.
pub(crate) fn promote(folder: &StateFolder) -> Result<(), Failure> {
    match folder.rename(NEXT, CURRENT) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.map_err(|error| Failure::at(&folder.file(NEXT), &error)),
    }
}

/// Which of the two keys the next dial shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The current one.
    #[default]
    Current,
    /// The next one.
    Next,
}

impl Turn {
    /// The hub does not know the key that was shown.
    #[must_use]
    pub(crate) fn refused(self) -> Turn {
        match self {
            Turn::Current => Turn::Next,
            Turn::Next => Turn::Current,
        }
    }
}

fn read(folder: &StateFolder, name: &str) -> Result<Option<Key>, Failure> {
    let path = folder.file(name);
    match folder.read(name).map_err(|error| Failure::at(&path, &error))? {
        None => Ok(None),
        Some(bytes) => match key_file::parse(&bytes) {
            Ok(key) => Ok(Some(key)),
            Err(error) => Err(Failure::Failed(format!("{}: {error}", path.display()))),
        },
    }
}

fn write(folder: &StateFolder, name: &str, key: &Key) -> Result<(), Failure> {
    folder.write(name, key_file::text(key).as_bytes()).map_err(|error| Failure::at(&folder.file(name), &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;
    use wire::message::Fingerprint;

    /// What a hub knows of one device: the older key first. It does as `hub::Hub` does.
    struct Hub(Vec<Fingerprint>);

    impl Hub {
        fn rotate(&mut self, shown: Fingerprint, next: Fingerprint) -> bool {
            if !self.0.contains(&shown) {
                return false;
            }
            self.0.retain(|known| *known == shown || *known == next);
            if !self.0.contains(&next) {
                self.0.push(next);
            }
            true
        }

        fn greet(&mut self, shown: Fingerprint) -> bool {
            let place = self.0.iter().position(|known| *known == shown);
            if let Some(place) = place {
                self.0.drain(..place);
            }
            place.is_some()
        }
    }

    /// What `key rotate` does, up to the step at which the power is cut.
    fn rotate(folder: &StateFolder, hub: &mut Hub, step_count: usize) {
        let mut keys = Keys::load(folder).unwrap().unwrap();
        if step_count == 0 {
            return;
        }
        let next = keys.begin_rotation(folder).unwrap().fingerprint();
        if step_count == 1 {
            return;
        }
        let shown = [keys.current.fingerprint(), next];
        assert!(shown.into_iter().any(|shown| hub.rotate(shown, next)));
        if step_count > 2 {
            promote(folder).unwrap();
        }
    }

    /// What a running agent does at each dial. Returns after how many dials the hub let it in.
    fn dial(folder: &StateFolder, hub: &mut Hub) -> usize {
        let mut turn = Turn::default();
        for count in 1..=3 {
            let keys = Keys::load(folder).unwrap().unwrap();
            if hub.greet(keys.of(turn).fingerprint()) {
                if turn == Turn::Next {
                    promote(folder).unwrap();
                }
                return count;
            }
            turn = turn.refused();
        }
        panic!("the hub knows neither key");
    }

    #[test]
    fn a_key_is_made_once() {
        let Scratch(folder) = &Scratch::new();
        assert!(Keys::load(folder).unwrap().is_none());
        let made = Keys::load_or_generate(folder).unwrap().current.fingerprint();
        assert_eq!(Keys::load_or_generate(folder).unwrap().current.fingerprint(), made);
    }

    #[test]
    fn a_power_cut_at_any_step_of_two_rotations_is_healed() {
        for (first, second) in (0..4).flat_map(|first| (0..4).map(move |second| (first, second))) {
            for dials_between in [false, true] {
                let Scratch(folder) = &Scratch::new();
                let begun_with = Keys::load_or_generate(folder).unwrap().current.fingerprint();
                let mut hub = Hub(vec![begun_with]);
                rotate(folder, &mut hub, first);
                if dials_between {
                    assert!(dial(folder, &mut hub) <= 2);
                }
                rotate(folder, &mut hub, second);
                assert!(dial(folder, &mut hub) <= 2, "cut at {first}, then at {second}");
                rotate(folder, &mut hub, 3);
                assert_eq!(dial(folder, &mut hub), 1);
                assert!(Keys::load(folder).unwrap().unwrap().next.is_none());
                assert_ne!(Keys::load(folder).unwrap().unwrap().current.fingerprint(), begun_with);
            }
        }
    }

    #[test]
    fn a_hub_that_dropped_the_old_key_lets_the_next_one_in() {
        let Scratch(folder) = &Scratch::new();
        let mut keys = Keys::load_or_generate(folder).unwrap();
        let next = keys.begin_rotation(folder).unwrap().fingerprint();
        let mut hub = Hub(vec![next]);
        assert_eq!(dial(folder, &mut hub), 2);
        let keys = Keys::load(folder).unwrap().unwrap();
        assert_eq!((keys.current.fingerprint(), keys.next.is_none()), (next, true));
    }

    #[test]
    fn a_damaged_key_is_an_error_and_a_damaged_next_one_is_none() {
        let Scratch(folder) = &Scratch::new();
        let mut keys = Keys::load_or_generate(folder).unwrap();
        keys.begin_rotation(folder).unwrap();
        folder.write(NEXT, b"half a li").unwrap();
        assert!(Keys::load(folder).unwrap().unwrap().next.is_none());
        folder.write(CURRENT, b"half a li").unwrap();
        let Err(Failure::Failed(error)) = Keys::load(folder) else { panic!("a damaged key was read") };
        assert!(error.contains("device.key: "), "{error}");
    }
}
