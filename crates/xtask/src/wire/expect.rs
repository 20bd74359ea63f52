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
