//! What the peers send: one list for all of them.

use std::iter;

use framewright_testkit::split::before_character;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::wire::Message;

/// Texts and octets of every length that has a form of its own on the wire, such that compress and
/// such that do not, in one fragment and in several; then many that are alike, as a server sends
/// them all day.
pub(super) fn all() -> Vec<Message> {
    let mut random = StdRng::seed_from_u64(SEED);
    let fragments = [1, 2, 1, 3, 1, 7];
    let mut messages: Vec<Message> = LENGTHS
        .iter()
        .flat_map(|&len| {
            let mut noise = vec![0; len];
            random.fill(noise.as_mut_slice());
            [
                Message { text: true, fragments: 1, compressible: true, data: text(len) },
                Message { text: false, fragments: 1, compressible: false, data: noise },
                Message { text: false, fragments: 1, compressible: true, data: pattern(len) },
            ]
        })
        .chain((0..SIMILAR).map(similar))
        .collect();
    for (message, &fragments) in messages.iter_mut().zip(fragments.iter().cycle()) {
        message.fragments = fragments;
    }
    messages
}

/// A text and octets that do not compress of every length that has a form of its own on the wire,
/// up to the largest that a server takes by default.
pub(super) fn of_all_sizes() -> Vec<Message> {
    let mut random = StdRng::seed_from_u64(SEED);
    SIZES
        .iter()
        .flat_map(|&len| {
            let mut noise = vec![0; len];
            random.fill(noise.as_mut_slice());
            [
                Message { text: true, fragments: 1, compressible: true, data: text(len) },
                Message { text: false, fragments: 1, compressible: false, data: noise },
            ]
        })
        .collect()
}

/// Two texts of 240 octets that are alike, and a thousand more of many lengths, which refer to each
/// other wherever a compressor remembers them.
pub(super) fn alike() -> Vec<Message> {
    let of_len = |number: usize, len: usize| {
        let mut data = format!("{{\"number\":{number},\"text\":\"");
        while data.len() < len.saturating_sub(2) {
            data.push_str(["as before, ", "once more, ", "and again, "][data.len() % 3]);
        }
        data.truncate(len.saturating_sub(2).max(1));
        data.push_str("\"}");
        Message { text: true, fragments: 1, compressible: true, data: data.into_bytes() }
    };
    let lens = [240, 17, 1000, 240, 130, 5000, 64, 240];
    let more = (0..1000).map(|number| of_len(number, lens[number % lens.len()]));
    (0..2).map(|number| of_len(number, 240)).chain(more).collect()
}

/// The form in which the peers read them: 1 for a text or 2, the number of fragments, the length in
/// 4 octets, the data.
pub(super) fn encode(messages: &[Message]) -> Vec<u8> {
    let mut octets = Vec::new();
    for Message { text, fragments, data, .. } in messages {
        octets.extend([if *text { 1 } else { 2 }, *fragments]);
        octets.extend(u32::try_from(data.len()).expect("far less than 4 GiB").to_be_bytes());
        octets.extend_from_slice(data);
    }
    octets
}

const SEED: u64 = 7692;

/// Around the threshold of compression, the forms of a frame's length, the largest window; and the
/// longest that is compressed.
const LENGTHS: [usize; 11] = [0, 1, 125, 126, 127, 128, 1000, 32_769, 65_535, 65_536, 1 << 20];

/// From nothing to the default of `max_message`.
const SIZES: [usize; 8] = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20];

/// How many messages are alike.
const SIMILAR: usize = 40;

/// A text of so many octets, of characters of one to four octets each.
fn text(len: usize) -> Vec<u8> {
    let mut line = 0u64;
    let mut text = String::new();
    while text.len() < len {
        line += 1;
        text += &format!("Zeile {line}: Grüße, 漢字, 🎉 und {}. ", line * line % 997);
    }
    text.truncate(before_character(&text, len));
    text.extend(iter::repeat_n('.', len - text.len()));
    text.into_bytes()
}

fn pattern(len: usize) -> Vec<u8> {
    (0u8..50).cycle().take(len).collect()
}

/// A JSON text of about 400 octets, alone shorter by more than an eighth when compressed: one that
/// is not makes the server give up on compressing for a while.
fn similar(number: usize) -> Message {
    let level = |depth: usize| {
        let cents = number * (37 + depth) % 100;
        format!(
            r#"{{"price":{}.{cents:02},"size":{},"orders":{depth}}}"#,
            100 + number % 7,
            number * 100 + depth
        )
    };
    let levels: Vec<String> = (1..=8).map(level).collect();
    let data =
        format!(r#"{{"id":{number},"symbol":"FRMW","venue":"loopback","bids":[{}]}}"#, levels.join(","));
    Message { text: true, fragments: 1, compressible: true, data: data.into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_its_length_and_is_what_it_says() {
        let messages = all();
        assert_eq!(messages.len(), 3 * LENGTHS.len() + SIMILAR);
        for (three, len) in messages.chunks(3).zip(LENGTHS) {
            assert!(three.iter().all(|message| message.data.len() == len));
        }
        let texts = messages.iter().filter(|message| message.text);
        assert!(texts.clone().count() > SIMILAR);
        assert!(texts.clone().all(|message| std::str::from_utf8(&message.data).is_ok()));
        for fragments in [1, 2, 3, 7] {
            assert!(messages.iter().any(|message| message.fragments == fragments));
        }
    }

    #[test]
    fn the_similar_ones_are_long_enough_to_be_compressed() {
        assert!((0..SIMILAR).all(|number| similar(number).data.len() >= 128));
    }

    #[test]
    fn those_that_are_alike_begin_with_two_of_240_octets() {
        let messages = alike();
        assert_eq!(messages.len(), 1002);
        assert!(messages[..2].iter().all(|message| message.data.len() == 240));
        assert!(messages[0].data != messages[1].data && messages[0].data[..10] == messages[1].data[..10]);
    }

    #[test]
    fn the_form_for_the_peers_has_every_length() {
        let message = Message { text: false, fragments: 3, compressible: true, data: vec![7; 258] };
        let octets = encode(&[message]);
        assert_eq!((octets.len(), &octets[..6]), (6 + 258, &[2, 3, 0, 0, 1, 2][..]));
    }
}
