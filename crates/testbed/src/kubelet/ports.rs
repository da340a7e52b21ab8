//! Free local ports for what containers listen on.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the ports that systems give to outgoing connections, of which a test may open many at any moment.
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// A port nobody listens on. It is not held: the program is to bind it, and if it is taken by then, the container
/// ends and gets another.
pub(crate) fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests run in several processes: each begins elsewhere.
    let start = (process::id() % 97 * 151) as u16;
    let candidates = (0..COUNT).map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + start.wrapping_add(step) % COUNT
    });
    let mut free = candidates.filter(|port| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
            // Programs that listen on all addresses conflict with other listeners there.
            && TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
    });
    free.next().unwrap_or_default()
}
