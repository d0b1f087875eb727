//! `outpost enroll`, `outpost leave`, `outpost key rotate`: what a device and its hub settle about each other.
//!
//! Each may be cut off anywhere and run again: the hub answers a machine it knows as it did before.

use identity::token::Token;
use link::channel::Carrier;
use wire::message::{CloseReason, DatagramKey, Enroll, Enrolled, Kind, Rotate};
use wire::version::Versions;

use crate::address::Address;
use crate::admission;
use crate::dial::{DialError, Way};
use crate::enrolment::Enrolment;
use crate::errand::{self, ErrandError};
use crate::failure::Failure;
use crate::keys::{self, Keys};
use crate::run;
use crate::settings::Settings;
use crate::state::StateFolder;

/// Enrolls this machine at the hub that made `token`, over what `settings` have carry its link. `hostname` is what the machine calls itself.
///
/// The answer is what to tell the person.
pub(crate) fn enroll(
    folder: &StateFolder,
    address: &Address,
    token: &Token,
    hostname: &str,
    settings: &Settings,
) -> Result<String, Failure> {
    folder.create()?;
    let keys = Keys::load_or_generate(folder)?;
    let question =
        Enroll { versions: Versions::AGENT, secret: token.secret, hostname: cut(hostname), agent: cut(run::VERSION) };
    let pins = [token.hub];
    let enrolled: Result<Enrolled, _> = match settings.way.bearers.carrier {
        Carrier::Datagram => admission::run(address, &keys.current, token, &question),
        Carrier::Stream => {
            let way = way(settings);
            errand::run(address, &way, &keys.current, &pins, Kind::Enroll, &question, Kind::Enrolled)
        }
    };
    let Enrolled { device, name, datagram_key } = enrolled.map_err(|error| match error {
        ErrandError::Dial(DialError::Wrong(wrong)) => Failure::Failed(format!(
            "not enrolled: the hub at {address} has key {}, and the token is of a hub with key {}. Is this the hub that \
             made the token?",
            wrong.shown, token.hub
        )),
        error => Failure::Failed(format!("not enrolled at {address}: {error}")),
    })?;
    let datagram_key = (datagram_key != DatagramKey::default()).then_some(datagram_key);
    Enrolment { device, address: address.clone(), pins: pins.to_vec(), datagram_key }.store(folder)?;
    Ok(format!("enrolled at {address} as {name}, device {device}\n"))
}

/// Tells the hub that this device will not come back, and forgets the hub. When `is_forced` the hub is forgotten even
/// if it cannot be told.
///
/// The answer is what to tell the person.
pub(crate) fn leave(folder: &StateFolder, settings: &Settings, is_forced: bool) -> Result<String, Failure> {
    let Some(enrolment) = load(folder, settings, is_forced)? else {
        Enrolment::forget(folder)?;
        return Ok("this device is not enrolled\n".to_owned());
    };
    let address = &enrolment.address;
    let told = with_either_key(folder, (&enrolment, &way(settings)), Kind::Leave, &(), Kind::Left);
    let text = match told {
        Ok(()) => format!("left {address}; what was sampled stays here\n"),
        Err(Refused::Failed(error)) => match error.refusal() {
            Some(CloseReason::UnknownKey | CloseReason::Retired | CloseReason::Revoked) => {
                format!("{address} did not know this device any more, and is forgotten; what was sampled stays here\n")
            }
            _ if is_forced => format!("{address} is forgotten and could not be told: {error}\n"),
            _ => {
                return Err(Failure::Failed(format!(
                    "nothing has changed; `outpost leave --force` forgets the hub all the same. {address} could not be \
                     told: {error}"
                )));
            }
        },
        Err(Refused::Here(failure)) if !is_forced => return Err(failure),
        Err(Refused::Here(failure)) => format!("{address} is forgotten and could not be told: {failure}\n"),
    };
    Enrolment::forget(folder)?;
    Ok(text)
}

/// Changes this device's key for a new one, at the hub and here.
///
/// The answer is what to tell the person.
pub(crate) fn rotate(folder: &StateFolder, settings: &Settings) -> Result<String, Failure> {
    let enrolment = load(folder, settings, false)?.ok_or_else(|| {
        Failure::Failed("this device is not enrolled: its key is known to nobody, and needs no change".to_owned())
    })?;
    let mut keys = load_keys(folder)?;
    let (next, datagram_key) = {
        let key = keys.begin_rotation(folder)?;
        (key.fingerprint(), DatagramKey(key.noise_public()))
    };
    let question = Rotate { key: next, datagram_key };
    let rotated = with_either_key(folder, (&enrolment, &way(settings)), Kind::Rotate, &question, Kind::Rotated);
    let address = &enrolment.address;
    rotated.map_err(|refused| match refused {
        Refused::Failed(error) => Failure::Failed(format!(
            "the key is not changed yet, and the new one is kept: run this again. {address} could not be told: {error}"
        )),
        Refused::Here(failure) => failure,
    })?;
    keys::promote(folder)?;
    Ok(format!("this device has a new key, {next}\n"))
}

/// Why an errand with one of the device's keys failed.
enum Refused {
    /// At the hub, or on the way to it.
    Failed(ErrandError),
    /// On this machine.
    Here(Failure),
}

/// Runs an errand that has no answer but that it is done; with the next key when the hub does not know the current one.
fn with_either_key(
    folder: &StateFolder,
    (enrolment, way): (&Enrolment, &Way),
    question: Kind,
    body: &impl serde::Serialize,
    answer: Kind,
) -> Result<(), Refused> {
    let keys = load_keys(folder).map_err(Refused::Here)?;
    let Enrolment { address, pins, .. } = enrolment;
    let run = |key| errand::run::<()>(address, way, key, pins, question, body, answer);
    match (run(&keys.current), &keys.next) {
        (Err(error), Some(next)) if error.refusal() == Some(CloseReason::UnknownKey) => run(next),
        (done, _) => done,
    }
    .map_err(Refused::Failed)
}

/// The enrolment with the address that the settings give the hub. One that is damaged is none when `is_forced`.
fn load(folder: &StateFolder, settings: &Settings, is_forced: bool) -> Result<Option<Enrolment>, Failure> {
    let mut enrolment = match Enrolment::load(folder) {
        Err(_) if is_forced => None,
        loaded => loaded?,
    };
    if let (Some(enrolment), Some(hub)) = (&mut enrolment, &settings.hub) {
        enrolment.address = hub.clone();
    }
    Ok(enrolment)
}

fn way(settings: &Settings) -> Way {
    Way { interface: None, proxy: settings.proxy.clone() }
}

fn load_keys(folder: &StateFolder) -> Result<Keys, Failure> {
    Keys::load(folder)?.ok_or_else(|| {
        Failure::Failed(format!("{} has no key any more: enroll this device again", folder.path().display()))
    })
}

/// `text` as far as it fits: it is for people.
fn cut<const N: usize>(text: &str) -> heapless::String<N> {
    let mut out = heapless::String::new();
    text.chars().take_while(|character| out.push(*character).is_ok()).for_each(drop);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn a_device_that_is_not_enrolled_has_nothing_to_leave_or_rotate() {
        let Scratch(folder) = &Scratch::new();
        assert_eq!(leave(folder, &Settings::default(), false).unwrap(), "this device is not enrolled\n");
        assert!(rotate(folder, &Settings::default()).unwrap_err().to_string().contains("not enrolled"));
        assert!(Keys::load(folder).unwrap().is_none());
    }

    #[test]
    fn a_damaged_enrolment_is_left_only_by_force() {
        let Scratch(folder) = &Scratch::new();
        folder.write("device.id", b"damaged").unwrap();
        assert!(leave(folder, &Settings::default(), false).is_err());
        assert!(leave(folder, &Settings::default(), true).is_ok());
        assert_eq!(Enrolment::load(folder), Ok(None));
    }

    #[test]
    fn a_name_that_does_not_fit_is_cut_at_a_character() {
        assert_eq!(cut::<5>("gätë").as_str(), "gät");
    }
}
