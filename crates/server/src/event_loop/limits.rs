//! Counts and limits of connections, for the whole server and for each address, and of those that
//! may linger long.

use crate::api::options::ServerLimits;
use crate::guard::lock;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The counts of open connections, shared by all loops of a server.
#[derive(Debug)]
pub(crate) struct Counters {
    totals: Arc<Totals>,
    /// Shared by all counted connections that are not counted for an address.
    uncounted_ip: Arc<CountedBy>,
}

#[derive(Debug)]
struct Totals {
    open: AtomicUsize,
    most: usize,
    /// `None` without a limit for each address.
    by_ip: Option<ByIp>,
}

/// The connections of each address, and the limit for each.
#[derive(Debug)]
struct ByIp {
    most: usize,
    ipv6_prefix: u8,
    open: Mutex<HashMap<Owner, usize>>,
}

/// The owner that a connection is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// This address, or the network whose first address it is.
    Address(IpAddr),
    /// All clients that the proxy at this address does not name, together. They are kept apart from
    /// the proxy, so that its own requests, such as health checks, are not refused because of their
    /// number.
    UnnamedBy(IpAddr),
}

/// The map is not shrunk while its capacity is no larger than this.
const FEW: usize = 32;

/// One counted connection. Dropping it uncounts it. As small as possible, since each connection has
/// one.
#[derive(Debug)]
pub(crate) struct Counted(Arc<CountedBy>);

#[derive(Debug)]
struct CountedBy {
    totals: Arc<Totals>,
    owner: Option<Owner>,
}

/// The limit that a new connection exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Connections,
    ConnectionsFromAddress,
}

impl Counters {
    pub(crate) fn new(limits: &ServerLimits) -> Counters {
        let ipv6_prefix = limits.ipv6_prefix;
        let by_ip = |most| ByIp { most, ipv6_prefix, open: Mutex::new(HashMap::new()) };
        let totals = Arc::new(Totals {
            open: AtomicUsize::new(0),
            most: limits.max_connections.unwrap_or(usize::MAX),
            by_ip: limits.max_connections_per_ip.map(by_ip),
        });
        Counters { uncounted_ip: Arc::new(CountedBy { totals: Arc::clone(&totals), owner: None }), totals }
    }

    /// Counts a connection if the limits allow it.
    pub(crate) fn count(&self, ip: Option<IpAddr>) -> Result<Counted, Refused> {
        let Totals { open, most, .. } = &*self.totals;
        let one_more = |open| (open < *most).then_some(open + 1);
        if open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Err(Refused::Connections);
        }
        let mut counted = Counted(Arc::clone(&self.uncounted_ip));
        if let Some(ip) = ip {
            self.count_for(&mut counted, Owner::Address(ip))?;
        }
        Ok(counted)
    }

    /// Counts a connection for `owner`, if the limit allows it. The connection must not be counted
    /// for an owner yet.
    pub(crate) fn count_for(&self, counted: &mut Counted, owner: Owner) -> Result<(), Refused> {
        let Some(by_ip) = &self.totals.by_ip else { return Ok(()) };
        debug_assert!(counted.0.owner.is_none(), "a connection is counted for one");
        let owner = match owner {
            Owner::Address(ip) => Owner::Address(counted_as(ip, by_ip.ipv6_prefix)),
            Owner::UnnamedBy(ip) => Owner::UnnamedBy(counted_as(ip, by_ip.ipv6_prefix)),
        };
        let mut open = lock(&by_ip.open);
        if open.get(&owner).copied().unwrap_or(0) >= by_ip.most {
            return Err(Refused::ConnectionsFromAddress);
        }
        *open.entry(owner).or_insert(0) += 1;
        counted.0 = Arc::new(CountedBy { totals: Arc::clone(&self.totals), owner: Some(owner) });
        Ok(())
    }

    pub(crate) fn open(&self) -> usize {
        self.totals.open.load(Ordering::Relaxed)
    }
}

/// The address that a connection from `ip` is counted for. An IPv6 peer has a whole subnet to
/// connect from (RFC 4291, section 2.5.1: 2^64 addresses).
fn counted_as(ip: IpAddr, ipv6_prefix: u8) -> IpAddr {
    // A dual-stack socket reports IPv4 peers as ::ffff:a.b.c.d.
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(ipv6_prefix.into())).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let CountedBy { totals, owner } = &*self.0;
        totals.open.fetch_sub(1, Ordering::Relaxed);
        if let (Some(by_ip), Some(owner)) = (&totals.by_ip, owner) {
            let mut open = lock(&by_ip.open);
            if let Some(count) = open.get_mut(owner) {
                *count -= 1;
                if *count == 0 {
                    open.remove(owner);
                    // Half of the capacity is free afterwards, so the cost is spread over the
                    // connections that have ended.
                    if open.capacity() > FEW && open.len() < open.capacity() / 8 {
                        let len = open.len();
                        open.shrink_to(2 * len);
                    }
                }
            }
        }
    }
}

/// Places for connections that linger for more than a moment. Each costs a descriptor while its
/// peer sends bytes that are discarded.
#[derive(Debug, Default)]
pub(crate) struct LingerPlaces(Arc<AtomicUsize>);

/// One such place, released when it is dropped.
#[derive(Debug)]
pub(crate) struct LingerPlace(Arc<AtomicUsize>);

/// The lingering places of a server.
const LINGER_PLACES: usize = 256;

impl LingerPlaces {
    /// Takes a place; `None` if none is free.
    pub(crate) fn take(&self) -> Option<LingerPlace> {
        let one_more = |taken| (taken < LINGER_PLACES).then_some(taken + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(LingerPlace(Arc::clone(&self.0)))
    }
}

impl Drop for LingerPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn counters(max_connections: Option<usize>, max_connections_per_ip: Option<usize>) -> Counters {
        Counters::new(&ServerLimits { max_connections, max_connections_per_ip, ..ServerLimits::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn limits_hold_and_dropped_connections_make_room() {
        let counters = counters(Some(3), Some(2));
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

    #[test]
    fn an_address_that_is_known_later_is_counted_then() {
        let counters = counters(None, Some(1));
        let mut first = counters.count(None).unwrap();
        let mut second = counters.count(None).unwrap();
        let owner = Owner::Address(ip("192.0.2.1"));
        counters.count_for(&mut first, owner).unwrap();
        assert_eq!(counters.count_for(&mut second, owner), Err(Refused::ConnectionsFromAddress));
        assert_eq!(counters.open(), 2);
        drop(first);
        counters.count_for(&mut second, owner).unwrap();
        drop(second);
        assert_eq!(counters.open(), 0);
        counters.count(Some(ip("192.0.2.1"))).unwrap();
    }

    #[test]
    fn those_that_a_proxy_does_not_name_are_counted_together_and_not_with_it() {
        let counters = counters(None, Some(1));
        let mut all: Vec<_> = (0..4).map(|_| counters.count(None).unwrap()).collect();
        let mut count = |index: usize, owner| counters.count_for(&mut all[index], owner);
        count(0, Owner::UnnamedBy(ip("192.0.2.1"))).unwrap();
        count(1, Owner::UnnamedBy(ip("192.0.2.1"))).unwrap_err();
        count(1, Owner::Address(ip("192.0.2.1"))).unwrap();
        count(2, Owner::UnnamedBy(ip("192.0.2.2"))).unwrap();
        count(3, Owner::Address(ip("192.0.2.1"))).unwrap_err();
        all.remove(0);
        counters.count_for(&mut all[2], Owner::UnnamedBy(ip("192.0.2.1"))).unwrap();
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_counted_together() {
        let counters = counters(None, Some(2));
        let one = counters.count(Some(ip("2001:db8:1:2::1"))).unwrap();
        let _other = counters.count(Some(ip("2001:db8:1:2:ffff:ffff:ffff:ffff"))).unwrap();
        let third = ip("2001:db8:1:2:8000::");
        assert_eq!(counters.count(Some(third)).unwrap_err(), Refused::ConnectionsFromAddress);
        let _neighbour = counters.count(Some(ip("2001:db8:1:3::1"))).unwrap();
        drop(one);
        let _third = counters.count(Some(third)).unwrap();
        assert_eq!(counters.count(Some(ip("2001:db8:1:2::1"))).unwrap_err(), Refused::ConnectionsFromAddress);
    }

    #[test]
    fn a_mapped_address_counts_as_what_it_stands_for() {
        let counters = counters(None, Some(2));
        let _mapped = counters.count(Some(ip("::ffff:192.0.2.1"))).unwrap();
        let _plain = counters.count(Some(ip("192.0.2.1"))).unwrap();
        for again in ["::ffff:192.0.2.1", "192.0.2.1"] {
            assert_eq!(counters.count(Some(ip(again))).unwrap_err(), Refused::ConnectionsFromAddress);
        }
        // IPv4 addresses are not grouped into networks, and mapped ones not into IPv6 networks.
        counters.count(Some(ip("192.0.2.2"))).unwrap();
        counters.count(Some(ip("::ffff:192.0.2.3"))).unwrap();
    }

    #[test]
    fn the_prefix_of_a_network_is_any_number_of_bits() {
        let (all_ones, ipv4) = (ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ip("255.255.255.255"));
        for (prefix, network) in [
            (0, "::"),
            (1, "8000::"),
            (48, "ffff:ffff:ffff::"),
            (56, "ffff:ffff:ffff:ff00::"),
            (64, "ffff:ffff:ffff:ffff::"),
            (127, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"),
            (128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            (255, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(counted_as(all_ones, prefix), ip(network), "/{prefix}");
            assert_eq!(counted_as(ipv4, prefix), ipv4);
        }
    }

    #[test]
    fn addresses_that_have_gone_leave_no_room_behind() {
        let counters = counters(None, Some(2));
        let mut counted: Vec<Counted> =
            (0..10_000).map(|number| counters.count(Some(Ipv4Addr::from(number).into())).unwrap()).collect();
        counted.truncate(10);
        let open = lock(&counters.totals.by_ip.as_ref().unwrap().open);
        assert_eq!(open.len(), 10);
        assert!(open.capacity() <= FEW.max(80), "{}", open.capacity());
    }

    #[test]
    fn places_to_linger_are_bounded_and_come_back() {
        let places = LingerPlaces::default();
        let mut taken: Vec<LingerPlace> = std::iter::from_fn(|| places.take()).collect();
        assert_eq!(taken.len(), LINGER_PLACES);
        taken.pop();
        assert!(places.take().is_some());
    }
}
