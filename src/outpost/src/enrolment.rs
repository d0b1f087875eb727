//! What this device knows of its hub: its number there, where the hub is, and the keys the hub may have.
//!
//! The number is written last and removed first: where there is one, the rest is whole. A power cut in between leaves a
//! device that is not enrolled, and the same token enrolls it again.

use std::io;
use std::str::FromStr;

use wire::id::DeviceId;
use wire::message::{DatagramKey, Fingerprint};

use crate::address::Address;
use crate::failure::Failure;
use crate::state::StateFolder;

const ADDRESS: &str = "hub.address";
const DEVICE: &str = "device.id";
const PINS: &str = "hub.pins";
const DATAGRAM_KEY: &str = "hub.datagram_key";

/// Keys that the hub may have: one, and others while it changes its key. The oldest goes when there is no more room.
const PIN_COUNT_MAX: usize = 4;

/// What this device knows of its hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Enrolment {
    /// The device's number.
    pub(crate) device: DeviceId,
    /// Where the hub is.
    pub(crate) address: Address,
    /// The keys the hub may have, oldest first.
    pub(crate) pins: Vec<Fingerprint>,
    /// The key that the hub has on datagrams, if it takes them.
    pub(crate) datagram_key: Option<DatagramKey>,
}

impl Enrolment {
    /// Reads it; `None` when the device is not enrolled.
    ///
    /// Errors: a file cannot be read or holds something else.
    pub(crate) fn load(folder: &StateFolder) -> Result<Option<Enrolment>, Failure> {
        let Some(device) = parsed(folder, DEVICE, DeviceId::from_str)? else { return Ok(None) };
        let address = parsed(folder, ADDRESS, Address::from_str)?;
        let pins = parsed(folder, PINS, pins)?;
        match (address, pins) {
            (Some(address), Some(pins)) => {
                let datagram_key = parsed(folder, DATAGRAM_KEY, |text| fingerprint(text).ok_or(()))?;
                let datagram_key = datagram_key.map(|key| DatagramKey(key.0));
                Ok(Some(Enrolment { device, address, pins, datagram_key }))
            }
            _ => {
                let folder = folder.path().display();
                Err(Failure::Failed(format!(
                    "{folder} has {DEVICE} without {ADDRESS} and {PINS}: enroll this device again"
                )))
            }
        }
    }

    /// Writes it.
    pub(crate) fn store(&self, folder: &StateFolder) -> Result<(), Failure> {
        let write = |name, text: String| {
            folder.write(name, text.as_bytes()).map_err(|error| Failure::at(&folder.file(name), &error))
        };
        // A number from another hub, with this hub's pins, would be half of each.
        folder.remove(DEVICE).map_err(|error| Failure::at(&folder.file(DEVICE), &error))?;
        write(PINS, pins_text(&self.pins))?;
        match self.datagram_key {
            Some(key) => write(DATAGRAM_KEY, pins_text(&[Fingerprint(key.0)]))?,
            None => {
                folder.remove(DATAGRAM_KEY).map_err(|error| Failure::at(&folder.file(DATAGRAM_KEY), &error))?;
            }
        }
        write(ADDRESS, format!("{}\n", self.address))?;
        write(DEVICE, format!("{}\n", self.device))
    }

    /// Forgets the hub. The key and the journal stay.
    pub(crate) fn forget(folder: &StateFolder) -> Result<(), Failure> {
        for name in [DEVICE, ADDRESS, PINS, DATAGRAM_KEY] {
            folder.remove(name).map_err(|error| Failure::at(&folder.file(name), &error))?;
        }
        Ok(())
    }
}

/// Accepts one more key of the hub from now on; says whether it was new.
///
/// Errors: the keys so far cannot be read, or the new list cannot be written.
pub(crate) fn add_pin(folder: &StateFolder, pin: Fingerprint) -> Result<bool, Failure> {
    let mut known = parsed(folder, PINS, pins)?.unwrap_or_default();
    if known.contains(&pin) {
        return Ok(false);
    }
    known.push(pin);
    known.drain(..known.len().saturating_sub(PIN_COUNT_MAX));
    folder.write(PINS, pins_text(&known).as_bytes()).map_err(|error| Failure::at(&folder.file(PINS), &error))?;
    Ok(true)
}

fn parsed<T, E>(folder: &StateFolder, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<Option<T>, Failure> {
    let read = folder.read(name).and_then(|bytes| {
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text"))
    });
    let Some(text) = read.map_err(|error| Failure::at(&folder.file(name), &error))? else { return Ok(None) };
    match parse(text.trim()) {
        Ok(value) => Ok(Some(value)),
        Err(_) => {
            let path = folder.file(name);
            Err(Failure::Failed(format!("{} is damaged: enroll this device again", path.display())))
        }
    }
}

pub(crate) fn pins(text: &str) -> Result<Vec<Fingerprint>, ()> {
    let pins: Vec<Fingerprint> =
        text.lines().map(|line| fingerprint(line.trim()).ok_or(())).collect::<Result<_, _>>()?;
    if pins.is_empty() { Err(()) } else { Ok(pins) }
}

fn fingerprint(text: &str) -> Option<Fingerprint> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Fingerprint(bytes))
}

pub(crate) fn pins_text(pins: &[Fingerprint]) -> String {
    pins.iter().map(|pin| format!("{pin}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;

    fn enrolment() -> Enrolment {
        Enrolment {
            device: DeviceId(0x0123_4567_89ab_cdef),
            address: "hub.example.com:7070".parse().unwrap(),
            pins: vec![Fingerprint([0xa5; 32])],
            datagram_key: Some(DatagramKey([0x5a; 32])),
        }
    }

    #[test]
    fn an_enrolment_comes_back_until_it_is_forgotten() {
        let Scratch(folder) = &Scratch::new();
        assert_eq!(Enrolment::load(folder), Ok(None));
        enrolment().store(folder).unwrap();
        assert_eq!(Enrolment::load(folder), Ok(Some(enrolment())));
        Enrolment::forget(folder).unwrap();
        assert_eq!(Enrolment::load(folder), Ok(None));
        Enrolment::forget(folder).unwrap();
    }

    #[test]
    fn a_power_cut_between_two_files_leaves_a_device_that_is_not_enrolled() {
        let Scratch(folder) = &Scratch::new();
        enrolment().store(folder).unwrap();
        folder.remove(DEVICE).unwrap();
        assert_eq!(Enrolment::load(folder), Ok(None));
    }

    #[test]
    fn a_new_key_of_the_hub_stands_beside_the_old_one() {
        let Scratch(folder) = &Scratch::new();
        enrolment().store(folder).unwrap();
        assert_eq!(add_pin(folder, Fingerprint([1; 32])), Ok(true));
        assert_eq!(add_pin(folder, Fingerprint([1; 32])), Ok(false));
        let pins = Enrolment::load(folder).unwrap().unwrap().pins;
        assert_eq!(pins, [Fingerprint([0xa5; 32]), Fingerprint([1; 32])]);
    }

    #[test]
    fn the_list_of_pins_is_bounded_and_the_oldest_goes() {
        let Scratch(folder) = &Scratch::new();
        enrolment().store(folder).unwrap();
        for number in 0..PIN_COUNT_MAX as u8 {
            add_pin(folder, Fingerprint([number; 32])).unwrap();
        }
        let pins = Enrolment::load(folder).unwrap().unwrap().pins;
        assert_eq!((pins.len(), pins[0]), (PIN_COUNT_MAX, Fingerprint([0; 32])));
    }

    #[test]
    fn a_damaged_file_is_named_with_what_to_do() {
        let Scratch(folder) = &Scratch::new();
        for (name, text) in [(PINS, &b"a5a5"[..]), (PINS, b""), (ADDRESS, b"a hub"), (DEVICE, b"\xff"), (DEVICE, b"12")]
        {
            enrolment().store(folder).unwrap();
            folder.write(name, text).unwrap();
            let Err(Failure::Failed(error)) = Enrolment::load(folder) else { panic!("{name} was read") };
            assert!(error.contains(name), "{error}");
        }
    }
}
