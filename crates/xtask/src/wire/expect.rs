//! What an exchange with the echo program must look like on the wire.

use anyhow::ensure;
use framewright::deflate::{DeflateConfig, DeflateOffer};

use super::exchange::{Exchange, Sent};

/// A message that the peer sends, and the echo program sends back.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) text: bool,
    /// In how many fragments the peer sends it; 0 for a peer that decides for itself.
    pub(crate) fragments: u8,
    /// Whether DEFLATE makes it shorter, if it is long enough to be tried.
    pub(crate) compressible: bool,
    pub(crate) data: Vec<u8>,
}

/// What is agreed on, and which messages are sent after it.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    /// The offers of the peer, in its order.
    pub(crate) offers: &'a [DeflateOffer],
    /// The server's answer, as text; `None` where it has to decline them all.
    pub(crate) answer: Option<&'a str>,
    pub(crate) messages: &'a [Message],
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
        ensure!(offered.as_deref() == Some(&*self.offered()), "the client has offered {offered:?}");
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
            ensure!(client.compressed == agreed, "RSV1 of message {index} from the client, of {len} octets");
            let pays = message.compressible && len >= DeflateConfig::default().threshold;
            ensure!(
                server.compressed == (agreed && pays),
                "RSV1 of message {index} from the server, of {len} octets"
            );
        }
        let Some(params) = params else { return Ok(()) };
        for (who, sent, no_takeover) in [
            ("client", client, params.client_no_context_takeover),
            ("server", server, params.server_no_context_takeover),
        ] {
            let some = sent.iter().any(|sent| sent.refers_back);
            ensure!(
                some != no_takeover,
                "context takeover by the {who}: {some}, it was agreed {}",
                !no_takeover
            );
        }
        Ok(())
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
    use framewright::deflate::check_answer;

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
            params: check_answer(&[DeflateOffer::default()], [ANSWER.as_bytes()]).expect("an answer to it"),
            client: sent([true; 3], false),
            server: sent([true, false, false], true),
        }
    }

    fn check(exchange: &Exchange) -> anyhow::Result<()> {
        let (offers, messages) = ([DeflateOffer::default()], messages());
        Expected { offers: &offers, answer: Some(ANSWER), messages: &messages }.check(exchange)
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
