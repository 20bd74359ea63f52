//! `--compress`: permessage-deflate (RFC 7692), the client's side of a measurement.
//!
//! What is offered has to be agreed on as it is offered, or the run would measure something else
//! than it says; the server may only want a smaller window, as what is offered lets it. What a
//! first connection has agreed on holds for all. How the messages of a script are compressed is in
//! `script`, what becomes of replies in `inflated`.

use anyhow::{Context, ensure};
use framewright::deflate::{Compressor, DeflateOffer, DeflateParams, Level, WindowBits, check_answer};
use framewright_cli::Compress;

/// The value of Sec-WebSocket-Extensions: what browsers offer, and that nothing is kept where
/// nothing is to be.
pub(super) fn offer(mode: Compress) -> Option<String> {
    let mut value = Vec::new();
    params(mode)?.write(&mut value);
    String::from_utf8(value).ok()
}

fn params(mode: Compress) -> Option<DeflateOffer> {
    let shared = mode == Compress::Shared;
    (mode != Compress::Off).then_some(DeflateOffer {
        server_no_context_takeover: shared,
        client_no_context_takeover: shared,
        ..DeflateOffer::default()
    })
}

/// What the server has agreed on: `None` if that is nothing, as it was to be. `answer` are the
/// values of all Sec-WebSocket-Extensions lines.
///
/// # Errors
/// If the server has not agreed on what was offered, or on something else.
pub(super) fn check(mode: Compress, answer: &[&str]) -> anyhow::Result<Option<DeflateParams>> {
    let offers: Vec<DeflateOffer> = params(mode).into_iter().collect();
    let text = answer.join(", ");
    let agreed = check_answer(&offers, answer.iter().map(|line| line.as_bytes()))
        .with_context(|| format!("the server answered with the extensions {text:?}"))?;
    if mode == Compress::Off {
        return Ok(None);
    }
    let agreed = agreed.context("the server did not agree on permessage-deflate")?;
    ensure!(
        mode == Compress::Shared || !(agreed.server_no_context_takeover || agreed.client_no_context_takeover),
        "the server agreed on permessage-deflate without context takeover, and --compress takeover is with it: {text}"
    );
    ensure!(
        agreed.client_max_window_bits > WindowBits::MIN,
        "the server wants a window that nothing is compressed with here: {text}"
    );
    Ok(Some(agreed))
}

/// The payloads of the frames that carry these messages. With context takeover they may refer to
/// all messages before, as if the first followed the last.
pub(super) fn compress(mode: Compress, window: WindowBits, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut compressor = Compressor::new(Level::new(LEVEL).unwrap_or_default(), window);
    let mut compressed = |message: &Vec<u8>| {
        let mut payload = Vec::new();
        compressor.compress(message, &mut payload);
        if mode != Compress::Takeover {
            compressor.reset();
        }
        payload
    };
    match mode {
        Compress::Off => messages.to_vec(),
        Compress::Shared => messages.iter().map(&mut compressed).collect(),
        // The first time around gives the messages of the second the window that they have every
        // time from then on.
        Compress::Takeover => {
            messages.iter().map(&mut compressed).for_each(drop);
            messages.iter().map(&mut compressed).collect()
        }
    }
}

/// What zlib takes where nobody says anything else, for what browsers and other clients send.
const LEVEL: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::inflated::Inflated;

    #[test]
    fn the_offer_is_a_browsers_and_asks_for_no_context_where_none_is_kept() {
        assert_eq!(offer(Compress::Off), None);
        assert_eq!(offer(Compress::Takeover).as_deref(), Some("permessage-deflate; client_max_window_bits"));
        assert_eq!(
            offer(Compress::Shared).as_deref(),
            Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"
            )
        );
    }

    #[test]
    fn only_what_was_asked_for_is_good_enough() {
        const NONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for (mode, answer) in [
            (Compress::Off, &[][..]),
            (Compress::Shared, &[NONE]),
            // The client has promised it, whether the server repeats it or not.
            (Compress::Shared, &["permessage-deflate; server_no_context_takeover"]),
            (Compress::Takeover, &["permessage-deflate"]),
            (Compress::Takeover, &["permessage-deflate; client_max_window_bits=12"]),
            (Compress::Takeover, &["permessage-deflate; server_max_window_bits=10"]),
        ] {
            check(mode, answer).unwrap_or_else(|error| panic!("{mode:?} {answer:?}: {error:#}"));
        }
        for (mode, answer, part) in [
            (Compress::Off, &["permessage-deflate"][..], "not offered"),
            (Compress::Shared, &[], "did not agree"),
            (Compress::Takeover, &[], "did not agree"),
            (Compress::Shared, &["permessage-deflate"], "none of the offers"),
            (Compress::Takeover, &[NONE], "without context takeover"),
            (Compress::Takeover, &["permessage-deflate; client_no_context_takeover"], "without context"),
            (Compress::Takeover, &["permessage-deflate; client_max_window_bits=8"], "nothing is compressed"),
            (Compress::Takeover, &["permessage-deflate", "permessage-deflate"], "twice"),
            (Compress::Takeover, &["permessage-deflate; fast"], "unknown parameter"),
        ] {
            let error = format!("{:#}", check(mode, answer).unwrap_err());
            assert!(error.contains(part), "{mode:?} {answer:?}: {error}");
        }
    }

    #[test]
    fn messages_of_each_mode_are_read_as_they_were() {
        let messages: Vec<Vec<u8>> =
            (0..300).map(|number| format!("message {number} ").repeat(20).into()).collect();
        let sum = |payloads: &[Vec<u8>]| payloads.iter().map(Vec::len).sum::<usize>();
        let (shared, takeover) = (
            compress(Compress::Shared, WindowBits::MAX, &messages),
            compress(Compress::Takeover, WindowBits::MAX, &messages),
        );
        assert!(sum(&takeover) < sum(&shared) && sum(&shared) < sum(&messages));
        let mut inflated = Inflated::new(Compress::Shared);
        for (payload, message) in shared.iter().zip(&messages) {
            inflated.push(payload);
            assert_eq!(inflated.end(message.len()).unwrap(), message);
        }
        // Once by themselves, then twice as those that follow the last: the window is the same each
        // time.
        let mut inflated = Inflated::new(Compress::Takeover);
        for (payload, message) in shared.iter().chain(&takeover).chain(&takeover).zip(messages.iter().cycle())
        {
            inflated.push(payload);
            assert_eq!(inflated.end(message.len()).unwrap(), message);
        }
    }
}
