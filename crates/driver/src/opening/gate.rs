//! Serializes the connections being opened to each remote host (RFC 6455, section 4.1), in the
//! whole process, whichever driver opens them: those with
//! [`Settings::one_at_a_time`](super::Settings::one_at_a_time).
//!
//! An attempt queues for a [`Ticket`] and connects once it has its turn. Dropping the ticket gives
//! the turn to the next in the queue, and wakes only that one.

use framewright::handshake::WsUri;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// What counts as one remote host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// An IP address and a port, whatever name they were resolved from.
    Address(IpAddr, u16),
    /// A name and a port, where a proxy resolves the name.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the client cannot determine the IP address of the remote host
    //# (for example, because all communication is being done through a
    //# proxy server that performs DNS queries itself), then the client
    //# MUST assume for the purposes of this step that each host name
    //# refers to a distinct remote host
    Name(String, u16),
}

impl Host {
    pub(super) fn of_address(address: SocketAddr) -> Host {
        Host::Address(address.ip().to_canonical(), address.port())
    }

    /// The remote host of `uri`, as far as it is known without resolving its name.
    pub(super) fn of_uri(uri: &WsUri) -> Host {
        match uri.ip() {
            Some(ip) => Host::of_address(SocketAddr::new(ip, uri.port())),
            None => Host::Name(uri.host().to_ascii_lowercase(), uri.port()),
        }
    }
}

/// A place in the queue for a remote host. Dropping it leaves the queue.
#[derive(Debug)]
pub(super) struct Ticket {
    host: Host,
    number: u64,
}

impl Ticket {
    /// Queues for `host`. Wakes `waker` when the turn comes, unless it is there at once.
    pub(super) fn queue(host: Host, waker: &Waker) -> Ticket {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        queues().entry(host.clone()).or_default().push_back(Waiting { number, waker: waker.clone() });
        Ticket { host, number }
    }

    /// Wakes `waker` when the turn comes, in place of an earlier one. Returns whether it is there.
    pub(super) fn poll_turn(&self, waker: &Waker) -> bool {
        let mut queues = queues();
        let Some(queue) = queues.get_mut(&self.host) else { return false };
        if queue.front().is_some_and(|first| first.number == self.number) {
            return true;
        }
        let mine = queue.iter_mut().find(|waiting| waiting.number == self.number);
        let earlier = mine.map(|waiting| std::mem::replace(&mut waiting.waker, waker.clone()));
        // What a waker does when it is dropped is its own business.
        drop(queues);
        drop(earlier);
        false
    }

    /// True once it is this ticket's turn, until it is dropped.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# There MUST be no more than one connection in a
    //# CONNECTING state.  If multiple connections to the same IP address
    //# are attempted simultaneously, the client MUST serialize them so
    //# that there is no more than one connection at a time running
    //# through the following steps.
    pub(super) fn has_turn(&self) -> bool {
        queues().get(&self.host).and_then(VecDeque::front).is_some_and(|first| first.number == self.number)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queues = queues();
        let Some(queue) = queues.get_mut(&self.host) else { return };
        let Some(place) = queue.iter().position(|waiting| waiting.number == self.number) else { return };
        let mine = queue.remove(place);
        let next = queue.front().filter(|_| place == 0).map(|waiting| waiting.waker.clone());
        if queue.is_empty() {
            queues.remove(&self.host);
        }
        drop(queues);
        drop(mine);
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// The first ticket of each queue has its turn.
type Queues = BTreeMap<Host, VecDeque<Waiting>>;

#[derive(Debug)]
struct Waiting {
    number: u64,
    waker: Waker,
}

fn queues() -> MutexGuard<'static, Queues> {
    static QUEUES: Mutex<Queues> = Mutex::new(BTreeMap::new());
    // No invariant spans a panic while it is locked.
    QUEUES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    /// Someone who waits.
    #[derive(Default)]
    struct Sleeper(AtomicBool);

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    impl Sleeper {
        fn new() -> (Arc<Sleeper>, Waker) {
            let sleeper = Arc::new(Sleeper::default());
            (Arc::clone(&sleeper), Waker::from(sleeper))
        }

        /// Whether it was woken since the last call.
        fn woken(&self) -> bool {
            self.0.swap(false, Ordering::SeqCst)
        }
    }

    /// The queues belong to the process, so each test has its own hosts.
    fn host(text: &str) -> Host {
        Host::of_address(text.parse().unwrap())
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //= type=test
    //# There MUST be no more than one connection in a
    //# CONNECTING state.  If multiple connections to the same IP address
    //# are attempted simultaneously, the client MUST serialize them so
    //# that there is no more than one connection at a time running
    //# through the following steps.
    #[test]
    fn tickets_for_one_host_have_their_turns_in_order_and_only_the_next_is_woken() {
        let [(first, to_first), (second, to_second), (third, to_third)] = [(); 3].map(|()| Sleeper::new());
        let one = Ticket::queue(host("192.0.2.1:80"), &to_first);
        let two = Ticket::queue(host("192.0.2.1:80"), &to_second);
        let three = Ticket::queue(host("192.0.2.1:80"), &to_third);
        assert!(one.has_turn() && !two.has_turn() && !three.has_turn());
        drop(one);
        assert!(two.has_turn() && !three.has_turn());
        assert!(second.woken() && !third.woken() && !first.woken());
        drop(two);
        assert!(three.has_turn() && third.woken());
    }

    #[test]
    fn a_ticket_that_is_given_up_while_it_waits_wakes_nobody() {
        let [(first, to_first), (second, to_second)] = [(); 2].map(|()| Sleeper::new());
        let one = Ticket::queue(host("192.0.2.2:80"), &to_first);
        let two = Ticket::queue(host("192.0.2.2:80"), &to_first);
        let three = Ticket::queue(host("192.0.2.2:80"), &to_second);
        drop(two);
        assert!(!first.woken() && !second.woken() && !three.has_turn());
        drop(one);
        assert!(three.has_turn() && second.woken());
    }

    /// A future may be polled by another task than before.
    #[test]
    fn the_latest_waker_of_a_ticket_is_woken_and_no_earlier_one_is_kept() {
        let [(first, to_first), (second, to_second)] = [(); 2].map(|()| Sleeper::new());
        let one = Ticket::queue(host("192.0.2.6:80"), Waker::noop());
        let two = Ticket::queue(host("192.0.2.6:80"), &to_first);
        assert!(one.poll_turn(&to_first) && !two.poll_turn(&to_second));
        drop(to_first);
        assert_eq!(Arc::strong_count(&first), 1);
        drop(one);
        assert!(!first.woken() && second.woken());
        assert!(two.poll_turn(&to_second));
    }

    #[test]
    fn hosts_do_not_wait_for_each_other() {
        let tickets = [
            host("192.0.2.3:80"),
            host("192.0.2.3:81"),
            host("192.0.2.4:80"),
            Host::of_uri(&"ws://a.example/".parse().unwrap()),
            Host::of_uri(&"ws://b.example/".parse().unwrap()),
        ]
        .map(|host| Ticket::queue(host, Waker::noop()));
        assert!(tickets.iter().all(Ticket::has_turn));
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //= type=test
    //# If the client cannot determine the IP address of the remote host
    //# (for example, because all communication is being done through a
    //# proxy server that performs DNS queries itself), then the client
    //# MUST assume for the purposes of this step that each host name
    //# refers to a distinct remote host
    #[test]
    fn a_host_is_its_address_and_a_name_only_where_there_is_none() {
        assert_eq!(host("192.0.2.9:80"), host("[::ffff:192.0.2.9]:80"));
        let uri = |text: &str| Host::of_uri(&text.parse().unwrap());
        assert_eq!(uri("ws://192.0.2.9/a"), host("192.0.2.9:80"));
        assert_eq!(uri("ws://[2001:db8::1]:8080/"), host("[2001:db8::1]:8080"));
        assert_eq!(uri("ws://Example.com/"), uri("ws://example.COM:80/b"));
        assert_ne!(uri("ws://a.example/"), uri("ws://b.example/"));
    }

    #[test]
    fn nothing_is_kept_of_hosts_that_nobody_waits_for() {
        let host = host("192.0.2.5:80");
        drop(Ticket::queue(host.clone(), Waker::noop()));
        assert!(!queues().contains_key(&host));
    }
}
