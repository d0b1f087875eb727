//! What a receiver of satellites says, byte by byte, to the time.
//!
//! ```text
//! $GPRMC,123519.00,A,4807.038,N,01131.000,E,022.4,084.4,310126,,,A*hh   time, status, .., day month year
//! $GPZDA,123519.00,31,01,2026,00,00*hh                                  time, day, month, year, ..
//! ```
//!
//! The two letters before the name are the system of satellites; `hh` is the exclusive or of all between `$` and `*`. A status of A is
//! a receiver that is sure of itself. ZDA has none: it counts while the last RMC had A, or when there is no RMC at all.
//!
//! Source: NMEA 0183 as in the "u-blox M8 receiver description", chapter 31, and gpsd's "NMEA Revealed".

use heapless::Vec;
use query::time::{self, Civil};
use wire::time::UnixTime;

/// Bytes of one sentence: 82 by the standard, and more where a receiver is asked for more digits.
pub const SENTENCE_BYTES_MAX: usize = 120;

/// A receiver that is listened to.
#[derive(Debug)]
pub struct Receiver {
    build_year: u32,
    /// From its `$` on; empty between sentences.
    sentence: Vec<u8, SENTENCE_BYTES_MAX>,
    /// Whether the receiver is sure; `None` until it said anything of it.
    is_sure: Option<bool>,
}

impl Receiver {
    /// A receiver that said nothing so far. Years of two digits are those from `build` on.
    pub fn new(build: UnixTime) -> Receiver {
        Receiver { build_year: Civil::of(build.0).year, sentence: Vec::new(), is_sure: None }
    }

    /// Takes the next byte; the time, when that ends a sentence which tells it.
    pub fn push(&mut self, byte: u8) -> Option<UnixTime> {
        match byte {
            b'\n' => {
                let sentence = std::mem::take(&mut self.sentence);
                self.read(std::str::from_utf8(&sentence).ok()?.trim_end())
            }
            b'$' => {
                self.sentence.clear();
                let _ = self.sentence.push(byte);
                None
            }
            _ => {
                // What is too long is no sentence, and neither is what comes before the next.
                if !self.sentence.is_empty() && self.sentence.push(byte).is_err() {
                    self.sentence.clear();
                }
                None
            }
        }
    }

    fn read(&mut self, sentence: &str) -> Option<UnixTime> {
        let (body, checksum) = sentence.strip_prefix('$')?.rsplit_once('*')?;
        let expected = body.bytes().fold(0, |sum, byte| sum ^ byte);
        if checksum.len() != 2 || u8::from_str_radix(checksum, 16) != Ok(expected) {
            return None;
        }
        let fields: Vec<&str, 16> = body.split(',').take(16).collect();
        match (fields.first()?.get(2..)?, &fields[1..]) {
            ("RMC", [clock, status, _, _, _, _, _, _, date, ..]) => {
                self.is_sure = Some(*status == "A");
                let (day, month, year) = (date.get(..2)?, date.get(2..4)?, date.get(4..)?);
                let year: u32 = year.parse().ok().filter(|year| *year < 100)?;
                let year = self.build_year + (year + 100 - self.build_year % 100) % 100;
                moment(year, month, day, clock).filter(|_| *status == "A")
            }
            ("ZDA", [clock, day, month, year, ..]) => {
                // After the first it is known whether an RMC comes along.
                let is_sure = self.is_sure.replace(self.is_sure.unwrap_or(true)).unwrap_or(false);
                moment(year.parse().ok()?, month, day, clock).filter(|_| is_sure)
            }
            _ => None,
        }
    }
}

/// The moment of a date and of `hhmmss` with or without a fraction.
fn moment(year: u32, month: &str, day: &str, clock: &str) -> Option<UnixTime> {
    let (hour, minute, second) = (clock.get(..2)?, clock.get(2..4)?, clock.get(4..)?);
    let text = std::format!("{year:04}-{month}-{day}T{hour}:{minute}:{second}Z");
    time::parse(&text, 0).ok().map(UnixTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-01.
    const BUILD: UnixTime = UnixTime(1_704_067_200_000);

    /// A sentence with the checksum that it needs.
    fn sentence(body: &str) -> String {
        format!("${body}*{:02X}\r\n", body.bytes().fold(0, |sum, byte| sum ^ byte))
    }

    fn rmc(clock: &str, status: &str, date: &str) -> String {
        sentence(&format!("GNRMC,{clock},{status},4807.038,N,01131.000,E,022.4,084.4,{date},,,A"))
    }

    fn zda(date: &str) -> String {
        sentence(&format!("GPZDA,123519.00,{date},00,00"))
    }

    /// The times that a receiver tells in its sentences.
    fn check(said: &[&str], expected: &[&str]) {
        let mut receiver = Receiver::new(BUILD);
        let told: std::vec::Vec<String> =
            said.concat().bytes().filter_map(|byte| receiver.push(byte)).map(|unix| time::format(unix.0)).collect();
        assert_eq!(told, expected, "{said:?}");
    }

    #[test]
    fn a_sentence_of_a_real_receiver_is_read() {
        check(
            &["$GPRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A*57\r\n"],
            &["2102-12-09T08:35:59Z"],
        );
        check(&[&zda("31,01,2026"), &zda("31,01,2026")], &["2026-01-31T12:35:19Z"]);
    }

    #[test]
    fn years_of_two_digits_go_on_from_that_of_the_build() {
        let date = |date| rmc("000000", "A", date);
        check(&[&date("010124")], &["2024-01-01T00:00:00Z"]);
        check(&[&date("311299")], &["2099-12-31T00:00:00Z"]);
        // What a receiver says whose weeks rolled over is a century off, and refused by the timekeeper.
        check(&[&date("010106")], &["2106-01-01T00:00:00Z"]);
        check(&[&date("290224")], &["2024-02-29T00:00:00Z"]);
    }

    #[test]
    fn a_receiver_that_is_not_sure_tells_nothing() {
        let (sure, unsure) = (rmc("123519.5", "A", "310126"), rmc("123519.5", "V", "310126"));
        check(&[&unsure, &zda("31,01,2026"), &unsure, &zda("31,01,2026")], &[]);
        check(&[&sure, &zda("31,01,2026")], &["2026-01-31T12:35:19.500Z", "2026-01-31T12:35:19Z"]);
        check(&[&zda("31,01,2026"), &unsure, &zda("31,01,2026")], &[]);
    }

    #[test]
    fn what_is_damaged_or_cut_or_too_long_is_passed_over() {
        let whole = rmc("123519", "A", "310126");
        let expected = "2026-01-31T12:35:19Z";
        check(&[&whole.replace("4807", "4808")], &[]);
        check(&[&whole.replace('*', "")], &[]);
        check(&[&whole[9..], &whole[..30], &whole], &[expected]);
        check(&["$", &"x".repeat(500), "\n", &whole], &[expected]);
        check(&["\u{fffd}$\u{fffd}*\n", &whole], &[expected]);
        for (clock, date) in
            [("", ""), ("1235", "310126"), ("123519", "3101"), ("123519", "300226"), ("126019", "310126")]
        {
            check(&[&rmc(clock, "A", date)], &[]);
        }
        check(&[&zda(""), &zda(",,"), &zda("1,1,2026")], &[]);
    }
}
