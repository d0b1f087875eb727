//! What `/sys/class/net/<name>` says of one network interface: where it leads, how fast, and what went through it.
//!
//! `root` is the machine's root folder, or a folder of copied files.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::socket::SockaddrStorage;

/// Where an interface leads, as far as its driver tells.
///
/// Only a guess: a stick that is a router of its own looks like a cable, and so does a satellite terminal behind one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Through a modem of this machine.
    Cellular,
    /// To this machine.
    Loop,
    /// Into packets of another interface.
    Tunnel,
    /// To a cable, or to what looks like one: bridges, and whatever says nothing of itself.
    Wired,
    /// To a wireless LAN.
    Wlan,
}

/// What went through an interface since it is there, in packets as its driver sees them: some count the link's headers. On 32-bit
/// machines some begin anew at 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
}

/// Drivers of modems. Those of `cdc_ether` and `cdc_ncm` drive cables too; of these, the kernel knows modems as `wwan`.
const MODEM_DRIVERS: [&str; 6] = ["cdc_mbim", "hso", "huawei_cdc_ncm", "qmi_wwan", "rndis_host", "sierra_net"];

/// ARPHRD_RAWIP of linux/if_arp.h, which libc has not: `rmnet`, a Qualcomm modem in the same chip.
const ARPHRD_RAWIP: u16 = 519;

/// ARPHRD_IP6GRE of linux/if_arp.h, which libc has not.
const ARPHRD_IP6GRE: u16 = 823;

/// The name of the interface that has this address, if one has.
pub fn of_address(address: IpAddr) -> Option<String> {
    let is_same = |own: SockaddrStorage| match address {
        IpAddr::V4(address) => own.as_sockaddr_in().is_some_and(|own| own.ip() == address),
        IpAddr::V6(address) => own.as_sockaddr_in6().is_some_and(|own| own.ip() == address),
    };
    let mut interfaces = getifaddrs().ok()?;
    Some(interfaces.find(|interface| interface.address.is_some_and(is_same))?.interface_name)
}

/// Where the interface leads.
pub fn kind(root: &Path, name: &str) -> Kind {
    let folder = folder(root, name);
    let uevent = fs::read_to_string(folder.join("uevent")).unwrap_or_default();
    let is_of = |devtype| uevent.lines().any(|line| line.strip_prefix("DEVTYPE=") == Some(devtype));
    let has = |attribute: &str| folder.join(attribute).exists();
    let hardware = number(&folder.join("type")).ok().and_then(|number| u16::try_from(number).ok());
    let driver = fs::read_link(folder.join("device/driver")).unwrap_or_default();
    let is_modem = driver.file_name().is_some_and(|driver| MODEM_DRIVERS.iter().any(|modem| driver == *modem));
    match hardware {
        Some(libc::ARPHRD_LOOPBACK) => Kind::Loop,
        _ if is_of("wlan") || has("phy80211") || has("wireless") => Kind::Wlan,
        Some(ARPHRD_RAWIP) => Kind::Cellular,
        _ if is_of("wwan") || is_modem || has_modem_name(name) => Kind::Cellular,
        Some(libc::ARPHRD_TUNNEL | libc::ARPHRD_TUNNEL6 | libc::ARPHRD_SIT | libc::ARPHRD_IPGRE | ARPHRD_IP6GRE) => {
            Kind::Tunnel
        }
        _ if has("tun_flags") || ["geneve", "vxlan", "wireguard"].into_iter().any(is_of) => Kind::Tunnel,
        // Packets without a link's header, and no device that takes them.
        Some(libc::ARPHRD_NONE) if !has("device") => Kind::Tunnel,
        _ => Kind::Wired,
    }
}

/// What went through the interface.
///
/// Errors: there is none of that name; `/sys` is not mounted.
pub fn counters(root: &Path, name: &str) -> io::Result<Counters> {
    let folder = folder(root, name).join("statistics");
    let counter = |counter| number(&folder.join(counter));
    Ok(Counters {
        received_bytes: counter("rx_bytes")?,
        received_packets: counter("rx_packets")?,
        sent_bytes: counter("tx_bytes")?,
        sent_packets: counter("tx_packets")?,
    })
}

/// What the link could carry, in Mbit/s. Of a cable; modems and wireless interfaces do not say, or not what is true.
pub fn speed_mbps(root: &Path, name: &str) -> Option<u32> {
    number(&folder(root, name).join("speed")).ok().and_then(|speed| u32::try_from(speed).ok())
}

fn folder(root: &Path, name: &str) -> PathBuf {
    root.join("sys/class/net").join(name)
}

fn number(path: &Path) -> io::Result<u64> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(named)?;
    text.trim().parse().map_err(|_| named(io::ErrorKind::InvalidData.into()))
}

/// Whether it is named as modems are. A `ppp0` may be a DSL line or a tunnel as well, and is better taken for what costs more.
fn has_modem_name(name: &str) -> bool {
    let is_numbered = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    name.starts_with("wwan") || name.starts_with("rmnet") || name.strip_prefix("ppp").is_some_and(is_numbered)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::linux::folder::tests::Scratch;

    const BOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/proc/imx6");

    /// A machine with one interface whose attributes are `files`, driven by `driver`.
    fn machine(name: &str, files: &[(&str, &str)], driver: Option<&str>) -> Scratch {
        let scratch = Scratch::new();
        let folder = folder(&scratch.0, name);
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        if let Some(driver) = driver {
            fs::create_dir_all(folder.join("device")).unwrap();
            symlink(format!("../../../bus/usb/drivers/{driver}"), folder.join("device/driver")).unwrap();
        }
        scratch
    }

    fn check(name: &str, hardware: &str, uevent: &str, driver: Option<&str>, expected: Kind) {
        let machine = machine(name, &[("type", hardware), ("uevent", uevent)], driver);
        assert_eq!(kind(&machine.0, name), expected, "{name}");
    }

    #[test]
    fn an_interface_is_found_by_its_address() {
        assert_eq!(of_address([127, 0, 0, 1].into()).as_deref(), Some("lo"));
        assert_eq!(of_address([192, 0, 2, 77].into()), None);
    }

    #[test]
    fn a_modem_is_known_by_its_type_its_driver_or_its_name() {
        check("eth1", "1\n", "DEVTYPE=wwan\nINTERFACE=eth1\nIFINDEX=4\n", Some("cdc_ether"), Kind::Cellular);
        check("usb0", "1\n", "INTERFACE=usb0\n", Some("rndis_host"), Kind::Cellular);
        check("wwan0", "65534\n", "", Some("qmi_wwan"), Kind::Cellular);
        check("rmnet_ipa0", "519\n", "", None, Kind::Cellular);
        check("ppp0", "512\n", "DEVTYPE=ppp\n", None, Kind::Cellular);
        assert_eq!(kind(Path::new(BOARD), "wwan0"), Kind::Cellular);
    }

    #[test]
    fn what_leads_elsewhere_is_no_modem() {
        check("eth0", "1\n", "INTERFACE=eth0\n", Some("cdc_ether"), Kind::Wired);
        check("br-lan", "1\n", "DEVTYPE=bridge\n", None, Kind::Wired);
        check("pppoe-wan", "512\n", "DEVTYPE=ppp\n", None, Kind::Wired);
        check("wlp2s0", "1\n", "DEVTYPE=wlan\n", Some("brcmfmac"), Kind::Wlan);
        check("lo", "772\n", "INTERFACE=lo\n", None, Kind::Loop);
        for (name, hardware, uevent) in
            [("wg0", "65534\n", "DEVTYPE=wireguard\n"), ("tun0", "65534\n", ""), ("sit0", "776\n", "")]
        {
            check(name, hardware, uevent, None, Kind::Tunnel);
        }
        assert_eq!(kind(Path::new("/nowhere"), "eth0"), Kind::Wired);
    }

    #[test]
    fn a_tap_is_a_tunnel_and_a_wireless_interface_of_an_odd_driver_is_one() {
        let tap = machine("vpn", &[("type", "1\n"), ("tun_flags", "0x1002\n")], None);
        assert_eq!(kind(&tap.0, "vpn"), Kind::Tunnel);
        let wireless = machine("ra0", &[("type", "1\n"), ("wireless/status", "0x0\n")], None);
        assert_eq!(kind(&wireless.0, "ra0"), Kind::Wlan);
    }

    #[test]
    fn counters_are_read_together() {
        let files =
            [("rx_bytes", "18446744073709551615\n"), ("rx_packets", "2\n"), ("tx_bytes", "3\n"), ("tx_packets", "4\n")];
        let files = files.map(|(name, text)| (format!("statistics/{name}"), text));
        let machine = machine("eth0", &files.each_ref().map(|(name, text)| (&**name, *text)), None);
        let expected = Counters { received_bytes: u64::MAX, received_packets: 2, sent_bytes: 3, sent_packets: 4 };
        assert_eq!(counters(&machine.0, "eth0").unwrap(), expected);
        fs::write(folder(&machine.0, "eth0").join("statistics/tx_bytes"), "many\n").unwrap();
        assert_eq!(counters(&machine.0, "eth0").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named_in_the_error() {
        let error = counters(Path::new("/"), "outpost-none").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("outpost-none"), "{error}");
    }

    #[test]
    fn the_real_loop_has_counted_what_it_received_and_sent() {
        let Counters { received_bytes, sent_bytes, .. } = counters(Path::new("/"), "lo").unwrap();
        // Both are the same number, read one after the other.
        assert!(received_bytes <= sent_bytes);
        assert_eq!(kind(Path::new("/"), "lo"), Kind::Loop);
    }

    #[test]
    fn a_speed_is_that_of_a_cable() {
        let root = Path::new(BOARD);
        assert_eq!(speed_mbps(root, "eth0"), Some(100));
        assert_eq!(speed_mbps(root, "wwan0"), None);
        let unplugged = machine("eth0", &[("speed", "-1\n")], None);
        assert_eq!(speed_mbps(&unplugged.0, "eth0"), None);
    }
}
