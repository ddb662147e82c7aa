//! Which addresses are the internet's. What a stack says may lead a function there, and nowhere else: not to
//! the Runtime API on its own machine, whose events it would take, and into no private network.

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec::IntoIter;
use tower_service::Service;

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Everything,
    Internet,
    /// Where AWS is on this machine, so are the applications.
    InternetAndThisMachine,
}

impl Reach {
    /// # Errors
    /// A text for the reader.
    pub(crate) fn check(self, address: IpAddr) -> Result<(), String> {
        let is_allowed = match self {
            Reach::Everything => true,
            Reach::Internet => is_of_the_internet(address),
            Reach::InternetAndThisMachine => address.is_loopback() || is_of_the_internet(address),
        };
        match is_allowed {
            true => Ok(()),
            false => Err(format!(
                "{address} is not an address of the internet, but of this machine, of a private network, or reserved"
            )),
        }
    }
}

/// <https://www.iana.org/assignments/iana-ipv4-special-registry/>,
/// <https://www.iana.org/assignments/iana-ipv6-special-registry/>
fn is_of_the_internet(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_of_the_internet_4(address),
        IpAddr::V6(address) => is_of_the_internet_6(address),
    }
}

fn is_of_the_internet_4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_of_a_protocol = (a, b, c) == (192, 0, 0);
    let is_for_benchmarks = a == 198 && (b == 18 || b == 19);
    let is_multicast_or_reserved = a >= 224;
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || is_shared
        || is_of_a_protocol
        || is_for_benchmarks
        || is_multicast_or_reserved)
}

/// Those that are given out are global unicast, 2000::/3. Some of them, and the prefix for translation, hold
/// an address of IPv4.
fn is_of_the_internet_6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_of_the_internet_4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [first, ..] => (0x2000..0x4000).contains(&first) && first & 0xfff0 != 0x3ff0,
    }
}

/// Resolves names to the addresses that may be connected to. That is done at the moment of connecting: a
/// name that was looked at before may have another address by then.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    reach: Reach,
    names: GaiResolver,
}

impl Resolver {
    pub(crate) fn new(reach: Reach) -> Self {
        Self {
            reach,
            names: GaiResolver::new(),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<IntoIter<SocketAddr>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.names.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach;
        let resolved = self.names.call(name);
        Box::pin(async move { allowed(reach, resolved.await?) })
    }
}

fn allowed(
    reach: Reach,
    resolved: impl Iterator<Item = SocketAddr>,
) -> io::Result<IntoIter<SocketAddr>> {
    let (mut allowed, mut problem) = (Vec::new(), None);
    for address in resolved {
        match reach.check(address.ip()) {
            Ok(()) => allowed.push(address),
            Err(refused) => problem = Some(refused),
        }
    }
    match problem {
        Some(problem) if allowed.is_empty() => Err(io::Error::other(problem)),
        _ => Ok(allowed.into_iter()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(reach: Reach, address: &str) -> bool {
        reach.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn what_is_not_of_the_internet_is_refused() {
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_allowed(Reach::Internet, address), "{address}");
            assert!(is_allowed(Reach::Everything, address), "{address}");
            let is_here = address.parse::<IpAddr>().unwrap().is_loopback();
            let here = is_allowed(Reach::InternetAndThisMachine, address);
            assert_eq!(here, is_here, "{address}");
        }
    }

    #[test]
    fn what_is_of_the_internet_is_allowed() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2001:4860:4860::8888",
            "2002:101:101::1",
            "2600:1f14::1",
            "2a05:d018::1",
        ] {
            assert!(is_allowed(Reach::Internet, address), "{address}");
        }
    }

    #[test]
    fn of_a_names_addresses_those_of_the_internet_are_tried() {
        let resolved = |addresses: &[&str]| {
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|it| it.parse().unwrap()).collect();
            allowed(Reach::Internet, addresses.into_iter())
        };
        let both = resolved(&["10.0.0.1:80", "1.1.1.1:80"]).unwrap();
        assert_eq!(both.collect::<Vec<_>>(), ["1.1.1.1:80".parse().unwrap()]);
        let none = resolved(&["10.0.0.1:80", "127.0.0.1:80"]).unwrap_err();
        assert!(none.to_string().contains("127.0.0.1"), "{none}");
        assert_eq!(resolved(&[]).unwrap().count(), 0);
    }
}
