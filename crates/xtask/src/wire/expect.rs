//! What an exchange between a client that sends messages and a server that sends them back must
//! look like on the wire.

use anyhow::ensure;
use framewright::deflate::{DeflateConfig, DeflateOffer};

use super::exchange::{Exchange, Sent};

/// A message that the client sends, and the server sends back.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) text: bool,
    /// In how many fragments the client sends it; 0 for one that decides for itself.
    pub(crate) fragments: u8,
    /// Whether DEFLATE makes it shorter, if it is long enough to be tried.
    pub(crate) compressible: bool,
    pub(crate) data: Vec<u8>,
}

/// What is agreed on, and which messages are sent after it.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    /// The offers of the client, in its order.
    pub(crate) offers: &'a [DeflateOffer],
    /// The server's answer, as text; `None` where it has to decline them all.
    pub(crate) answer: Option<&'a str>,
    /// What the client compresses, if it was agreed on.
    pub(crate) client: Compresses,
    /// What the server compresses, if it was agreed on.
    pub(crate) server: Compresses,
    pub(crate) messages: &'a [Message],
}

/// Which messages an end compresses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Compresses {
    /// Every one.
    All,
    /// As both ends of ours do: those that are long enough and get shorter. What is sent in several
    /// frames is not looked at, since the first decides then, before it is known what comes.
    WherePays,
    /// Some: what is sent on as it arrives is cut as the octets happen to come.
    Some,
}

impl Expected<'_> {
    /// The value of Sec-WebSocket-Extensions that the offers make.
    pub(crate) fn offered(&self) -> String {
        let mut value = Vec::new();
        for (index, offer) in self.offers.iter().enumerate() {
            if index > 0 {
                value.extend_from_slice(b", ");
            }
            offer.write(&mut value);
        }
        String::from_utf8(value).expect("an offer is ASCII")
    }

    /// Compares an exchange with all that is expected of it.
    ///
    /// # Errors
    /// What is different.
    pub(crate) fn check(&self, exchange: &Exchange) -> anyhow::Result<()> {
        let Exchange { offered, answered, params, client, server } = exchange;
        let expected = (!self.offers.is_empty()).then(|| self.offered());
        ensure!(*offered == expected, "the client has offered {offered:?}");
        ensure!(answered.as_deref() == self.answer, "the server has answered {answered:?}");
        for (who, sent) in [("client", client), ("server", server)] {
            let (found, expected) = (sent.len(), self.messages.len());
            ensure!(found == expected, "the {who} has sent {found} messages, not {expected}");
        }
        let agreed = params.is_some();
        for (index, (message, (client, server))) in
            self.messages.iter().zip(client.iter().zip(server)).enumerate()
        {
            let len = message.data.len();
            for (who, sent) in [("client", client), ("server", server)] {
                let same = sent.text == message.text && sent.data == message.data;
                ensure!(same, "message {index}, of {len} octets, is another one from the {who}");
            }
            ensure!(
                message.fragments == 0 || (client.frames > 1) == (message.fragments > 1),
                "the client has sent message {index} in {} frames",
                client.frames
            );
            for (who, sent, compresses) in [("client", client, self.client), ("server", server, self.server)]
            {
                let expected = if agreed { compresses.expects(message, sent) } else { Some(false) };
                ensure!(
                    expected.is_none_or(|expected| expected == sent.compressed),
                    "RSV1 of message {index} from the {who}, of {len} octets"
                );
            }
        }
        let Some(params) = params else { return Ok(()) };
        for (who, sent, compresses, no_takeover) in [
            ("client", client, self.client, params.client_no_context_takeover),
            ("server", server, self.server, params.server_no_context_takeover),
        ] {
            ensure!(sent.iter().any(|sent| sent.compressed), "the {who} has compressed nothing");
            let some = sent.iter().any(|sent| sent.refers_back);
            // Whoever compresses some may have compressed none that is like one before it.
            let missing = !some && !matches!(compresses, Compresses::Some);
            ensure!(
                if no_takeover { !some } else { !missing },
                "context takeover by the {who}: {some}, it was agreed {}",
                !no_takeover
            );
        }
        Ok(())
    }
}

impl Compresses {
    /// Whether a message has to be compressed, or must not be; `None`: either will do.
    fn expects(self, message: &Message, sent: &Sent) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::WherePays if sent.frames == 1 => {
                Some(message.compressible && message.data.len() >= DeflateConfig::default().threshold)
            }
            Self::WherePays | Self::Some => None,
        }
    }
}

/// How many octets the compressed ones of these messages have, and how many their payloads took.
pub(crate) fn ratio(sent: &[Sent]) -> (usize, usize) {
    let compressed = sent.iter().filter(|sent| sent.compressed);
    compressed.fold((0, 0), |(data, payload), sent| (data + sent.data.len(), payload + sent.payload_len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use framewright::deflate::{DeflateParams, WindowBits};

    const ANSWER: &str = "permessage-deflate; client_no_context_takeover";

    fn messages() -> [Message; 3] {
        let message =
            |compressible, len| Message { text: false, fragments: 1, compressible, data: vec![b'a'; len] };
        [message(true, 200), message(true, 127), message(false, 200)]
    }

    /// An exchange as it has to be, with the server's messages referring back.
    fn exchange() -> Exchange {
        let sent = |compressed: [bool; 3], refers_back| {
            let one = |(message, compressed): (Message, bool)| Sent {
                text: message.text,
                compressed,
                refers_back: refers_back && compressed,
                frames: 1,
                payload_len: 10,
                data: message.data,
            };
            messages().into_iter().zip(compressed).map(one).collect()
        };
        Exchange {
            offered: Some("permessage-deflate; client_max_window_bits".to_owned()),
            answered: Some(ANSWER.to_owned()),
            params: Some(DeflateParams {
                server_no_context_takeover: false,
                client_no_context_takeover: true,
                server_max_window_bits: WindowBits::MAX,
                client_max_window_bits: WindowBits::MAX,
            }),
            client: sent([true; 3], false),
            server: sent([true, false, false], true),
        }
    }

    fn check(exchange: &Exchange) -> anyhow::Result<()> {
        let (offers, messages) = ([DeflateOffer::default()], messages());
        let (client, server) = (Compresses::All, Compresses::WherePays);
        Expected { offers: &offers, answer: Some(ANSWER), client, server, messages: &messages }
            .check(exchange)
    }

    #[test]
    fn an_exchange_as_it_has_to_be_passes() {
        check(&exchange()).expect("nothing is different");
    }

    #[test]
    fn whatever_is_different_is_an_error() {
        let changes: [fn(&mut Exchange); 11] = [
            |exchange| exchange.offered = None,
            |exchange| exchange.answered = Some("permessage-deflate".to_owned()),
            |exchange| drop(exchange.client.pop()),
            |exchange| drop(exchange.server.pop()),
            |exchange| exchange.server[1].data[5] = b'b',
            |exchange| exchange.client[2].text = true,
            |exchange| exchange.client[0].frames = 2,
            |exchange| exchange.client[1].compressed = false,
            |exchange| exchange.server[0].compressed = false,
            |exchange| exchange.server[1].compressed = true,
            |exchange| exchange.server[2].compressed = true,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut exchange = exchange();
            change(&mut exchange);
            assert!(check(&exchange).is_err(), "change {number}");
        }
    }

    #[test]
    fn an_end_that_compresses_some_compresses_any_but_not_none() {
        let (offers, messages) = ([DeflateOffer::default()], messages());
        let check = |exchange: &Exchange, client, server| {
            Expected { offers: &offers, answer: Some(ANSWER), client, server, messages: &messages }
                .check(exchange)
        };
        let mut exchange = exchange();
        assert!(check(&exchange, Compresses::WherePays, Compresses::Some).is_err());
        check(&exchange, Compresses::Some, Compresses::Some).expect("some are compressed");
        // In several frames: whether they pay is not asked.
        for sent in &mut exchange.client {
            sent.frames = 2;
        }
        let fragmented = messages.clone().map(|message| Message { fragments: 2, ..message });
        Expected {
            offers: &offers,
            answer: Some(ANSWER),
            client: Compresses::WherePays,
            server: Compresses::Some,
            messages: &fragmented,
        }
        .check(&exchange)
        .expect("the first frame decides");
        for sent in &mut exchange.server {
            sent.compressed = false;
        }
        assert!(check(&exchange, Compresses::All, Compresses::Some).is_err());
    }

    #[test]
    fn context_takeover_is_seen_where_it_was_agreed_on_and_nowhere_else() {
        let mut without = exchange();
        without.server[0].refers_back = false;
        assert!(check(&without).is_err());
        let mut against = exchange();
        against.client[0].refers_back = true;
        assert!(check(&against).is_err());
    }

    #[test]
    fn only_compressed_messages_count_for_the_ratio() {
        assert_eq!(ratio(&exchange().client), (527, 30));
        assert_eq!(ratio(&exchange().server), (200, 10));
    }
}
