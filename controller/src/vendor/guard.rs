//! Which addresses a vendor may have. Checked on literals when the client is made and on names when
//! they are resolved, right before the connect, so that a name that changes its mind is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The addresses the operator's flags allow.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// `--allow-vendor-network`: private networks a vendor may be in.
    pub networks: Vec<IpNet>,
    /// `--allow-insecure-vendor-urls`: plain http and any address.
    pub insecure: bool,
}

/// An address the operator will not call.
#[derive(Debug, thiserror::Error)]
#[error("{address} is {kind}; {remedy}")]
pub struct Refused {
    address: IpAddr,
    kind: &'static str,
    remedy: &'static str,
}

impl AddressPolicy {
    /// Whether this address may be called.
    ///
    /// # Errors
    ///
    /// Says what kind of address it is and which flag would allow it.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        if self.insecure {
            return Ok(());
        }
        let address = unmapped(address);
        let refuse = |kind, remedy| {
            Err(Refused {
                address,
                kind,
                remedy,
            })
        };
        match kind(address) {
            Kind::Public => Ok(()),
            Kind::Private
                if self
                    .networks
                    .iter()
                    .any(|network| network.contains(&address)) =>
            {
                Ok(())
            }
            Kind::Private => refuse(
                "a private address",
                "start the operator with --allow-vendor-network and its CIDR if the vendor is there",
            ),
            Kind::Special(kind) => refuse(
                kind,
                "such an address is refused; for development, --allow-insecure-vendor-urls allows it",
            ),
        }
    }
}

enum Kind {
    Public,
    Private,
    /// Never a vendor, whatever networks are allowed.
    Special(&'static str),
}

/// An IPv4 address in IPv6 clothes is judged as what it is.
fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let s = v6.segments();
            let embedded = || {
                let [.., a, b] = s;
                Ipv4Addr::from((u32::from(a) << 16) | u32::from(b))
            };
            match s {
                // IPv4-mapped, NAT64, and IPv4-compatible addresses other than :: and ::1.
                [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
                    IpAddr::V4(embedded())
                }
                [0, 0, 0, 0, 0, 0, a, b] if a != 0 || b > 1 => IpAddr::V4(embedded()),
                // 6to4
                [0x2002, a, b, ..] => {
                    IpAddr::V4(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b)))
                }
                _ => address,
            }
        }
    }
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => kind_v6(v6),
    }
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (127, ..) => Kind::Special("a loopback address"),
        (169, 254, _) => Kind::Special("a link-local (metadata) address"),
        // Alibaba's metadata service stands in the carrier-grade NAT range.
        (100, 100, 100) if address.octets() == [100, 100, 100, 200] => {
            Kind::Special("a metadata address")
        }
        (0, ..) => Kind::Special("an unspecified address"),
        (224..=239, ..) => Kind::Special("a multicast address"),
        (240..=255, ..) => Kind::Special("a reserved or broadcast address"),
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) | (192, 0, 0) => {
            Kind::Special("a documentation or protocol address")
        }
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (198, 18..=19, _) => {
            Kind::Private
        }
        _ => Kind::Public,
    }
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    if address.is_loopback() {
        return Kind::Special("a loopback address");
    }
    if address.is_unspecified() {
        return Kind::Special("an unspecified address");
    }
    let s = address.segments();
    match s[0] {
        0xfd00 if s[1] == 0xec2 => Kind::Special("a metadata address"),
        0xfc00..=0xfdff | 0xfec0..=0xfeff => Kind::Private,
        0xfe80..=0xfebf => Kind::Special("a link-local address"),
        0xff00..=0xffff => Kind::Special("a multicast address"),
        0x2001 if s[1] == 0xdb8 => Kind::Special("a documentation address"),
        // Teredo carries an IPv4 address we would have to trust.
        0x2001 if s[1] == 0 => Kind::Special("a Teredo address"),
        _ => Kind::Public,
    }
}

/// Resolves names with the system's resolver and drops what the policy refuses.
#[derive(Clone, Debug)]
pub struct GuardedResolver(pub AddressPolicy);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let mut refused = None;
            let mut allowed: Vec<SocketAddr> = Vec::new();
            for address in tokio::net::lookup_host((name.as_str(), 0)).await? {
                match policy.check(address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(why) => refused = Some(why),
                }
            }
            match (allowed.is_empty(), refused) {
                (true, Some(why)) => Err(format!("{} resolves to {why}", name.as_str()).into()),
                (true, None) => Err(format!("{} has no address", name.as_str()).into()),
                (false, _) => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(networks: &[&str], insecure: bool) -> AddressPolicy {
        AddressPolicy {
            networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            insecure,
        }
    }

    #[test]
    fn private_and_special_addresses_are_refused() {
        let strict = policy(&[], false);
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "::127.0.0.1",
            "2002:a00:1::",
            "ff02::1",
            "2001::1",
            "fec0::1",
        ] {
            assert!(strict.check(address.parse().unwrap()).is_err(), "{address}");
        }
        for address in [
            "1.1.1.1",
            "172.32.0.1",
            "192.169.0.1",
            "100.128.0.1",
            "2606:4700::1111",
        ] {
            assert!(strict.check(address.parse().unwrap()).is_ok(), "{address}");
        }
    }

    #[test]
    fn an_allowed_network_opens_private_addresses_only() {
        let allowed = policy(
            &["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "fd00::/8"],
            false,
        );
        for address in ["10.1.2.3", "fd12::1", "::ffff:10.1.2.3"] {
            assert!(allowed.check(address.parse().unwrap()).is_ok(), "{address}");
        }
        for address in [
            "192.168.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "fd00:ec2::254",
        ] {
            assert!(
                allowed.check(address.parse().unwrap()).is_err(),
                "{address}"
            );
        }
        assert!(
            policy(&[], true)
                .check("127.0.0.1".parse().unwrap())
                .is_ok()
        );
    }

    #[test]
    fn the_message_names_the_flag() {
        let why = policy(&[], false)
            .check("10.0.0.1".parse().unwrap())
            .unwrap_err();
        assert!(why.to_string().contains("--allow-vendor-network"), "{why}");
    }
}
