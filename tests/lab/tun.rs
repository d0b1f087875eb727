//! A network interface whose packets a process reads and writes: `/dev/net/tun`.
//!
//! Not in `hal`: nothing that is shipped has one.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use nix::libc;

nix::ioctl_readwrite_bad!(
    /// TUNSETIFF: `_IOW('T', 202, int)`, whatever the type says. Source: `linux/if_tun.h`.
    set_interface,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    libc::ifreq
);

/// Makes an interface of this name in the network namespace of the calling thread. It lasts as long as the file, one read of
/// which is one packet of IP, and none is waited for.
///
/// Errors: what the system said.
///
/// Panics: when the name is longer than 15 bytes.
pub(crate) fn open(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut ifr_name = [0; libc::IFNAMSIZ];
    assert!(name.len() < ifr_name.len(), "{name} is no name of an interface");
    ifr_name.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte as libc::c_char);
    let ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    let mut request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags } };
    #[expect(unsafe_code, reason = "nix does not wrap this ioctl; the lab ships nowhere")]
    // SAFETY: the kernel reads and writes one `ifreq`, which outlives the call, and keeps no pointer.
    unsafe { set_interface(file.as_raw_fd(), &raw mut request) }?;
    Ok(file)
}
