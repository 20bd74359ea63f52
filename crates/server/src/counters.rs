//! How many connections there are, in the whole server and from each address.

use crate::mailbox::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Shared by all loops of a server.
#[derive(Debug)]
pub(crate) struct Counters {
    open: AtomicUsize,
    most: usize,
    /// Only where there is a limit for each address.
    by_ip: Option<ByIp>,
}

/// How many connections each address has, and may have.
#[derive(Debug)]
struct ByIp {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One counted connection: uncounted when it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    counters: Arc<Counters>,
    ip: Option<Box<IpAddr>>,
}

/// The limit that a new connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Connections,
    ConnectionsFromAddress,
}

impl Counters {
    pub(crate) fn new(most: Option<usize>, most_by_ip: Option<usize>) -> Counters {
        Counters {
            open: AtomicUsize::new(0),
            most: most.unwrap_or(usize::MAX),
            by_ip: most_by_ip.map(|most| ByIp { most, open: Mutex::new(HashMap::new()) }),
        }
    }

    /// Counts a connection if the limits allow it.
    pub(crate) fn count(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<Counted, Refused> {
        let counted = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < self.most).then_some(open + 1)
        });
        if counted.is_err() {
            return Err(Refused::Connections);
        }
        let mut held = Counted { counters: Arc::clone(self), ip: None };
        if let (Some(by_ip), Some(ip)) = (&self.by_ip, ip) {
            let mut open = lock(&by_ip.open);
            if open.get(&ip).copied().unwrap_or(0) >= by_ip.most {
                drop(open);
                return Err(Refused::ConnectionsFromAddress);
            }
            *open.entry(ip).or_insert(0) += 1;
            held.ip = Some(Box::new(ip));
        }
        Ok(held)
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
        if let (Some(by_ip), Some(ip)) = (&self.counters.by_ip, &self.ip) {
            let mut open = lock(&by_ip.open);
            if let Some(count) = open.get_mut(ip) {
                *count -= 1;
                if *count == 0 {
                    open.remove(ip);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_dropped_connections_make_room() {
        let counters = Arc::new(Counters::new(Some(3), Some(2)));
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = counters.count(Some(a)).unwrap();
        let _second = counters.count(Some(a)).unwrap();
        assert_eq!(counters.count(Some(a)).unwrap_err(), Refused::ConnectionsFromAddress);
        let _third = counters.count(Some(b)).unwrap();
        assert_eq!(counters.count(Some(b)).unwrap_err(), Refused::Connections);
        assert_eq!(counters.open(), 3);
        drop(first);
        let _again = counters.count(Some(a)).unwrap();
        assert_eq!(counters.open(), 3);
    }
}
