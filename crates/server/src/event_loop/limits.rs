//! How many connections there are, in the whole server and from each address.

use crate::guard::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Shared by all loops of a server.
#[derive(Debug)]
pub(crate) struct Counters {
    totals: Arc<Totals>,
    /// What all connections hold whose address is not counted.
    uncounted_ip: Arc<CountedBy>,
}

#[derive(Debug)]
struct Totals {
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

/// One counted connection: uncounted when it is dropped. As small as can be, since each connection has one.
#[derive(Debug)]
pub(crate) struct Counted(Arc<CountedBy>);

#[derive(Debug)]
struct CountedBy {
    totals: Arc<Totals>,
    /// The address, if it is counted.
    ip: Option<IpAddr>,
}

/// The limit that a new connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Connections,
    ConnectionsFromAddress,
}

impl Counters {
    pub(crate) fn new(most: Option<usize>, most_by_ip: Option<usize>) -> Counters {
        let totals = Arc::new(Totals {
            open: AtomicUsize::new(0),
            most: most.unwrap_or(usize::MAX),
            by_ip: most_by_ip.map(|most| ByIp { most, open: Mutex::new(HashMap::new()) }),
        });
        Counters { uncounted_ip: Arc::new(CountedBy { totals: Arc::clone(&totals), ip: None }), totals }
    }

    /// Counts a connection if the limits allow it.
    pub(crate) fn count(&self, ip: Option<IpAddr>) -> Result<Counted, Refused> {
        let Totals { open, most, by_ip } = &*self.totals;
        let one_more = |open| (open < *most).then_some(open + 1);
        if open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Err(Refused::Connections);
        }
        let mut counted = Counted(Arc::clone(&self.uncounted_ip));
        if let (Some(by_ip), Some(ip)) = (by_ip, ip) {
            let mut open = lock(&by_ip.open);
            if open.get(&ip).copied().unwrap_or(0) >= by_ip.most {
                return Err(Refused::ConnectionsFromAddress);
            }
            *open.entry(ip).or_insert(0) += 1;
            counted.0 = Arc::new(CountedBy { totals: Arc::clone(&self.totals), ip: Some(ip) });
        }
        Ok(counted)
    }

    pub(crate) fn open(&self) -> usize {
        self.totals.open.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let CountedBy { totals, ip } = &*self.0;
        totals.open.fetch_sub(1, Ordering::Relaxed);
        if let (Some(by_ip), Some(ip)) = (&totals.by_ip, ip) {
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
        let counters = Counters::new(Some(3), Some(2));
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
