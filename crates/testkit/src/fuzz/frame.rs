//! The frame codec against the independent reader of [`wire`](crate::wire): the same frames, a
//! fault at the same octet, and what was decoded encodes to the same octets again.

use crate::wire::{Fields, WireFrame, header_fault};
use framewright::Role;
use framewright::frame::{Frame, Header, MAX_HEADER_LEN, MaskRule, RSV1, Rules, encode_frame, encoded_len};

/// Checks a stream of frames under the rules of both roles, and of none.
///
/// # Panics
/// If the codec and the independent reader differ.
pub fn check(data: &[u8]) {
    check_under(data, Rules::for_receiver(Role::Server), Some(true));
    check_under(data, Rules::for_receiver(Role::Client), Some(false));
    check_under(data, Rules { mask: MaskRule::Either, rsv: 0 }, None);
    check_under(data, Rules { mask: MaskRule::Either, rsv: RSV1 }, None);
}

fn check_under(data: &[u8], rules: Rules, masked: Option<bool>) {
    let mut copy = data.to_vec();
    let mut rest = &mut copy[..];
    let mut at = 0;
    loop {
        let fault = header_fault(&data[at..], masked, rules.rsv != 0);
        check_header(&data[at..], rules, fault);
        let Ok(decoded) = Frame::decode(rest, rules) else {
            assert!(fault.is_some(), "the codec alone sees a fault at octet {at}");
            return;
        };
        assert_eq!(fault, None, "the codec sees no fault at octet {at}");
        let expected = WireFrame::read(&data[at..]);
        let (Some((frame, behind)), Some(expected)) = (decoded, &expected) else {
            assert!(expected.is_none(), "the codec sees no whole frame at octet {at}");
            return;
        };
        check_frame(&frame, expected, &data[at..at + expected.at.end]);
        at += expected.at.end;
        rest = behind;
    }
}

/// Parses every prefix of the header: a fault and the header are there as soon as their octets are,
/// and not before.
fn check_header(bytes: &[u8], rules: Rules, fault: Option<usize>) {
    for end in 0..=bytes.len().min(MAX_HEADER_LEN) {
        let parsed = Header::parse(&bytes[..end], rules);
        match (fault, Fields::read(&bytes[..end])) {
            (Some(at), _) if at <= end => assert!(parsed.is_err(), "no fault in {:x?}", &bytes[..end]),
            (None, Some(fields)) => {
                let (header, len) = parsed.expect("no fault").expect("a whole header");
                assert_eq!(len, fields.header_len());
                assert_eq!(len, header.encoded_len());
                assert_eq!((header.mask, header.payload_len), (fields.key, fields.len));
            }
            _ => assert_eq!(parsed, Ok(None), "for {:x?}", &bytes[..end]),
        }
    }
}

fn check_frame(frame: &Frame<'_>, expected: &WireFrame, octets: &[u8]) {
    let header = frame.header;
    let fields = (header.fin, header.rsv, header.opcode.bits(), header.mask);
    let wanted = &expected.header;
    assert_eq!(fields, (wanted.fin, wanted.rsv, wanted.opcode, wanted.key));
    assert_eq!(*frame.payload, expected.payload);
    assert_eq!(encoded_len(frame.payload.len(), header.mask.is_some()), octets.len());
    let mut again = Vec::new();
    encode_frame(&mut again, header.fin, header.opcode, frame.payload, header.mask);
    again[0] |= header.rsv << 4;
    assert_eq!(again, octets, "what was decoded encodes to the same octets");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    #[test]
    fn streams_of_chance_pass() {
        let mut rng = SplitMix64::new(52);
        for _ in 0..20_000 {
            let len = rng.below(40);
            let mut data = rng.octets(len);
            for octet in data.iter_mut().take(2) {
                *octet &= 0x8F; // more of them get past the header
            }
            check(&data);
        }
    }
}
