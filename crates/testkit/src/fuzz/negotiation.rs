//! The negotiation of permessage-deflate, for any octets as field values: neither side is upset by
//! them, and what a server answers is what a client agrees to that has offered it.

use framewright::deflate::{
    ClientWindow, DeflateOffer, DeflateParams, DeflatePolicy, WindowBits, check_answer,
};
use framewright::handshake::{Accept, HeadLimits, ServerHandshake};
use std::time::{Duration, Instant};

/// Checks both sides. The first octets pick the server's policy and the client's offers, the rest
/// is the value of `Sec-WebSocket-Extensions` in a request, and in an answer.
///
/// # Panics
/// If anything is wrong.
pub fn check(data: &[u8]) {
    let Some((&[flags, windows, count, first, second], value)) = data.split_first_chunk() else { return };
    let policy = DeflatePolicy {
        server_no_context_takeover: flags & 1 != 0,
        client_no_context_takeover: flags & 2 != 0,
        server_max_window_bits: bits(windows),
        client_max_window_bits: bits(windows >> 3),
    };
    let offers: Vec<DeflateOffer> =
        [first, second].into_iter().take(usize::from(count % 3)).map(|pick| offer(pick, flags)).collect();

    let mut offered = Vec::new();
    for offer in &offers {
        if !offered.is_empty() {
            offered.extend(b", ");
        }
        offer.write(&mut offered);
    }
    if !offers.is_empty() {
        let (answer, params) = answer(&offered, policy).expect("what is offered is well-formed");
        let answer: Vec<_> = answer.iter().map(Vec::as_slice).collect();
        assert_eq!(check_answer(&offers, answer), Ok(params), "for {offers:?} under {policy:?}");
    }

    if let Some((answer, params)) = answer(value, policy) {
        assert_eq!(answer.len(), usize::from(params.is_some()));
        let agrees = |params: DeflateParams| params.server_max_window_bits >= bits(1);
        assert!(params.is_none_or(agrees), "a window that the server cannot compress with");
        // Some offer is one that this is an answer to: one that asks for just that.
        if let (Some(params), [answer]) = (params, &answer[..]) {
            let offer = DeflateOffer {
                server_no_context_takeover: params.server_no_context_takeover,
                client_no_context_takeover: params.client_no_context_takeover,
                server_max_window_bits: None,
                client_max_window_bits: Some(ClientWindow::AtMost(params.client_max_window_bits)),
            };
            assert_eq!(check_answer(&[offer], [&answer[..]]), Ok(Some(params)));
        }
    }
    // An answer of any octets, in one line and in two.
    let whole = check_answer(&offers, [value]);
    if let Ok(Some(params)) = whole {
        assert!(!offers.is_empty(), "{params:?} was not offered");
    }
    let lines: Vec<&[u8]> = value.split(|&octet| octet == b'\n').collect();
    let _ = check_answer(&offers, lines);
}

/// The values that a server answers, and what it has agreed on; `None` if it refuses the request.
fn answer(value: &[u8], policy: DeflatePolicy) -> Option<(Vec<Vec<u8>>, Option<DeflateParams>)> {
    let lines = value
        .split(|&octet| octet == b'\n')
        .map(|line| [b"Sec-WebSocket-Extensions: ", line, b"\r\n"].concat());
    let head = [
        &b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"[..],
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        &lines.collect::<Vec<_>>().concat(),
        b"\r\n",
    ]
    .concat();
    let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
    let len = handshake.parse(&head).ok()??;
    if len != head.len() {
        return None; // it ended with an empty line in the value
    }
    let request = handshake.request(&head);
    let upgrade = request.upgrade().ok()??;
    let mut out = Vec::new();
    let accept = Accept::new().with_deflate(policy);
    let negotiated = upgrade.accept(&request, &accept, &mut out).expect("nothing to object to");
    let fields = out.split(|&octet| octet == b'\n');
    let values = fields.filter_map(|line| line.strip_prefix(b"Sec-WebSocket-Extensions: "));
    let values = values.map(|value| value.trim_ascii_end().to_vec()).collect();
    Some((values, negotiated.deflate()))
}

fn bits(pick: u8) -> WindowBits {
    WindowBits::new(8 + pick % 8).expect("8 to 15")
}

fn offer(pick: u8, flags: u8) -> DeflateOffer {
    DeflateOffer {
        server_no_context_takeover: pick & 1 != 0,
        client_no_context_takeover: pick & 2 != 0,
        server_max_window_bits: (pick & 4 != 0).then(|| bits(pick >> 3)),
        client_max_window_bits: match pick >> 6 {
            0 => None,
            1 => Some(ClientWindow::Any),
            _ => Some(ClientWindow::AtMost(bits(flags >> 2))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    #[test]
    fn values_of_chance_pass_under_policies_of_chance() {
        let mut rng = SplitMix64::new(71);
        let parts: &[&[u8]] = &[
            b"permessage-deflate",
            b"; server_no_context_takeover",
            b"; client_no_context_takeover",
            b"; server_max_window_bits=10",
            b"; client_max_window_bits",
            b"=12",
            b"=\"9\"",
            b", permessage-deflate",
            b"\n",
            b"; x",
            b",",
            b"\"",
            b"\xff",
        ];
        for _ in 0..3000 {
            let mut data = rng.octets(5);
            data.extend_from_slice(parts[0]);
            for _ in 0..rng.below(6) {
                data.extend_from_slice(parts[rng.below(parts.len())]);
            }
            check(&data);
        }
    }
}
