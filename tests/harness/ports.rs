//! Ports for servers of our own.

use std::{
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// Where this process began to look: another one, at the same time, begins elsewhere.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
    let random = RandomState::new().hash_one(std::process::id());
    AtomicU16::new((random % 10_000) as u16)
});

/// A port that is free, never given twice by this process, and below those that systems give to
/// outgoing connections: a client that calls a server that is down must not find itself there.
pub fn free_port() -> u16 {
    (0..10_000)
        .map(|_| 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no port is free")
}
