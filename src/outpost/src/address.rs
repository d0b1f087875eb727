//! Where the hub is: `host`, or `host:port` when it listens at another port than hubs do. The same for other servers.

use std::fmt;
use std::str::FromStr;

use wire::limits::HOSTNAME_BYTES_MAX;

/// The port at which a hub listens when nobody says otherwise.
pub(crate) const PORT_DEFAULT: u16 = 7070;

/// Where the hub is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// A name, or an address without brackets.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
}

/// Why a text is no address. Each says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressError {
    /// The host is missing, too long, or holds what no host's name does.
    Host,
    /// The port is no number from 1 to 65535.
    Port,
    /// It is a web address.
    Scheme,
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `name`, `192.0.2.1` or `[2001:db8::1]`, each with or without `:port`.
    fn from_str(text: &str) -> Result<Address, AddressError> {
        Address::parse(text, PORT_DEFAULT)
    }
}

impl Address {
    /// The same for a server that listens at `port_default` when nobody says otherwise. The words of the errors are those for a hub.
    pub(crate) fn parse(text: &str, port_default: u16) -> Result<Address, AddressError> {
        let text = text.trim();
        if text.contains("://") {
            return Err(AddressError::Scheme);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or(AddressError::Host)?,
            // More than one colon without brackets is an address of IPv6 whose port cannot be told from its end.
            None if text.matches(':').count() > 1 => return Err(AddressError::Host),
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let is_part_of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || host.len() > HOSTNAME_BYTES_MAX || !host.chars().all(is_part_of_host) {
            return Err(AddressError::Host);
        }
        let port = match port {
            "" => Some(port_default),
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port != 0),
        };
        Ok(Address { host: host.to_owned(), port: port.ok_or(AddressError::Port)? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::Host => {
                "a hub is named by its host, as in hub.example.com, 192.0.2.1:7070 or [2001:db8::1]:7070"
            }
            AddressError::Port => "the port is a number from 1 to 65535, as in hub.example.com:7070",
            AddressError::Scheme => "a hub is no web page: write its host alone, as in hub.example.com",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, AddressError>) {
        assert_eq!(
            text.parse::<Address>().map(|address| address.to_string()).as_deref(),
            expected.as_ref().map(|e| *e)
        );
    }

    #[test]
    fn names_and_both_kinds_of_address_are_read() {
        check("hub.example.com:7070", Ok("hub.example.com:7070"));
        check(" 192.0.2.1:1 ", Ok("192.0.2.1:1"));
        check("[2001:db8::1]:65535", Ok("[2001:db8::1]:65535"));
        check("[fe80::1%eth0]:7070", Ok("[fe80::1%eth0]:7070"));
    }

    #[test]
    fn a_hub_listens_where_hubs_do_when_nobody_says_otherwise() {
        check("hub.example.com", Ok("hub.example.com:7070"));
        check("[2001:db8::1]", Ok("[2001:db8::1]:7070"));
    }

    #[test]
    fn each_kind_of_slip_is_named() {
        check("", Err(AddressError::Host));
        check(":7070", Err(AddressError::Host));
        check("2001:db8::1", Err(AddressError::Host));
        check("[2001:db8::1", Err(AddressError::Host));
        check("hub example.com:7070", Err(AddressError::Host));
        check("hub.example.com:", Err(AddressError::Port));
        check("[::1]x", Err(AddressError::Port));
        check("hub.example.com:0", Err(AddressError::Port));
        check("hub.example.com:70000", Err(AddressError::Port));
        check("https://hub.example.com:7070", Err(AddressError::Scheme));
    }
}
