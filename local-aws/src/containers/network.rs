//! Addresses and ports that stand for a task's elastic network interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The addresses given out lie in 127.64.0.0/10, away from those people use by hand.
const FIRST: u32 = 64 << 16;
const COUNT: u32 = 128 << 16;

/// An address for a task's network interface.
///
/// On Linux all of 127.0.0.0/8 is the loopback device, so every task gets an address of its own.
/// Elsewhere only 127.0.0.1 answers.
pub(crate) fn task_address() -> IpAddr {
    if !cfg!(target_os = "linux") {
        return IpAddr::V4(Ipv4Addr::LOCALHOST);
    }
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    // Another local AWS on this machine starts at another address.
    let next = NEXT.get_or_init(|| AtomicU32::new(uuid::Uuid::new_v4().as_fields().0));
    IpAddr::V4(address(next.fetch_add(1, Ordering::Relaxed)))
}

/// The n-th address; the last byte is never 0 or 255, which some programs take for networks.
fn address(n: u32) -> Ipv4Addr {
    let host = n % 254 + 1;
    let network = (n / 254) % (COUNT >> 8);
    let [_, a, b, _] = (FIRST + (network << 8)).to_be_bytes();
    Ipv4Addr::new(127, a, b, host as u8)
}

/// A port of the address that nothing listens on at the moment.
pub(crate) fn free_port(address: IpAddr) -> io::Result<u16> {
    let socket = TcpListener::bind(SocketAddr::new(address, 0))?;
    Ok(socket.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_get_different_addresses_within_the_range() {
        let mut seen = std::collections::HashSet::new();
        for n in (0..100_000).chain(u32::MAX - 1000..=u32::MAX) {
            let [first, second, _, last] = address(n).octets();
            assert_eq!(first, 127);
            assert!((64..192).contains(&second), "{second}");
            assert!((1..=254).contains(&last), "{last}");
            if n < 100_000 {
                assert!(seen.insert(address(n)));
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_port_can_be_bound_on_a_task_address() {
        let address = task_address();
        let port = free_port(address).unwrap();
        TcpListener::bind(SocketAddr::new(address, port)).unwrap();
    }
}
