//! The offers of permessage-deflate, and what is answered to each: by the echo program ([`CASES`]),
//! and by the servers of other projects ([`SERVERS`]).

use framewright::deflate::{ClientWindow, DeflateOffer, WindowBits};
use framewright_cli::Compress;

use super::install::{Agrees, Library};

/// A set of offers.
#[derive(Debug)]
pub(super) struct Case {
    /// In the client's order.
    pub(super) offers: &'static [DeflateOffer],
    shared: Option<&'static str>,
    takeover: Option<&'static str>,
}

impl Case {
    /// What a server that compresses in this way answers; `None` if it declines all the offers.
    pub(super) fn answer(&self, mode: Compress) -> Option<&'static str> {
        match mode {
            Compress::Off => None,
            Compress::Shared => self.shared,
            Compress::Takeover => self.takeover,
        }
    }
}

/// What browsers offer.
pub(crate) const BROWSER: DeflateOffer =
    DeflateOffer { client_max_window_bits: Some(ClientWindow::Any), ..BARE };

/// What Firefox, Safari and Mojolicious offer.
pub(super) const BARE: DeflateOffer = DeflateOffer {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: None,
};

/// No offer with a value is answered with a larger one, and none without `client_max_window_bits`
/// with that parameter. With `takeover` a client that lets itself be told keeps to 4 KiB.
pub(super) const CASES: &[Case] = &[
    Case {
        offers: &[BROWSER],
        shared: Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        takeover: Some("permessage-deflate; client_max_window_bits=12"),
    },
    Case {
        offers: &[BARE],
        shared: Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        takeover: Some("permessage-deflate"),
    },
    Case {
        offers: &[DeflateOffer { server_no_context_takeover: true, ..BROWSER }],
        shared: Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        takeover: Some("permessage-deflate; server_no_context_takeover; client_max_window_bits=12"),
    },
    Case {
        offers: &[DeflateOffer { client_no_context_takeover: true, ..BARE }],
        shared: Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        takeover: Some("permessage-deflate; client_no_context_takeover"),
    },
    Case {
        offers: DEFAULT,
        shared: Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        takeover: Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             client_max_window_bits=12",
        ),
    },
    Case {
        offers: &[DeflateOffer {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            ..BARE
        }],
        shared: Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        takeover: Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    },
    Case {
        offers: &[windows(9, 9)],
        shared: Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=9; client_max_window_bits=9",
        ),
        takeover: Some("permessage-deflate; server_max_window_bits=9; client_max_window_bits=9"),
    },
    Case {
        offers: &[windows(15, 15)],
        shared: Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=15",
        ),
        takeover: Some("permessage-deflate; server_max_window_bits=15; client_max_window_bits=12"),
    },
    // Only a peer that can compress with 8, or with 9 and matches that do not go back further than
    // 8 allows.
    Case {
        offers: &[windows(10, 8)],
        shared: Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=8",
        ),
        takeover: Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=8"),
    },
    // The server cannot compress with 8 and says no: messages go as they are.
    Case { offers: &[windows(8, 15)], shared: None, takeover: None },
    // The second offer is the first that it can accept.
    Case {
        offers: &[
            windows(8, 15),
            DeflateOffer { server_max_window_bits: WindowBits::new(11), ..BARE },
            BROWSER,
        ],
        shared: Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=11",
        ),
        takeover: Some("permessage-deflate; server_max_window_bits=11"),
    },
];

/// A set of offers to a server of another project.
#[derive(Debug)]
pub(super) struct ServerCase {
    pub(super) agrees: Agrees,
    /// In the order of our client.
    pub(super) offers: &'static [DeflateOffer],
    ws: Option<&'static str>,
    websockets: Option<&'static str>,
}

impl ServerCase {
    /// What the server answers; `None` if it declines.
    pub(super) fn answer(&self, library: Library) -> Option<&'static str> {
        match library {
            Library::Ws => self.ws,
            Library::Websockets => self.websockets,
        }
    }

    const fn same(agrees: Agrees, offers: &'static [DeflateOffer], answer: Option<&'static str>) -> Self {
        Self { agrees, offers, ws: answer, websockets: answer }
    }
}

/// No context takeover by either side.
pub(super) const SHARED: DeflateOffer =
    DeflateOffer { server_no_context_takeover: true, client_no_context_takeover: true, ..BARE };

/// What our client offers by default.
const DEFAULT: &[DeflateOffer] = &[
    DeflateOffer { client_max_window_bits: Some(ClientWindow::Any), ..SHARED },
    DeflateOffer { client_no_context_takeover: true, ..BROWSER },
];

/// What the servers answered when this was written.
pub(super) const SERVERS: &[ServerCase] = &[
    ServerCase::same(Agrees::Never, &[], None),
    ServerCase::same(Agrees::Never, &[SHARED], None),
    ServerCase::same(Agrees::Never, &[BROWSER, BARE], None),
    ServerCase::same(Agrees::AsOffered, &[], None),
    ServerCase::same(
        Agrees::AsOffered,
        &[SHARED],
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    ),
    ServerCase::same(
        Agrees::AsOffered,
        DEFAULT,
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    ),
    ServerCase::same(Agrees::AsOffered, &[BROWSER], Some("permessage-deflate")),
    ServerCase::same(Agrees::AsOffered, &[BARE], Some("permessage-deflate")),
    ServerCase::same(
        Agrees::AsOffered,
        &[DeflateOffer { server_no_context_takeover: true, ..BROWSER }],
        Some("permessage-deflate; server_no_context_takeover"),
    ),
    ServerCase::same(
        Agrees::AsOffered,
        &[DeflateOffer { client_no_context_takeover: true, ..BARE }],
        Some("permessage-deflate; client_no_context_takeover"),
    ),
    ServerCase::same(
        Agrees::AsOffered,
        &[windows(9, 9)],
        Some("permessage-deflate; server_max_window_bits=9; client_max_window_bits=9"),
    ),
    ServerCase::same(
        Agrees::AsOffered,
        &[windows(15, 15)],
        Some("permessage-deflate; server_max_window_bits=15; client_max_window_bits=15"),
    ),
    ServerCase::same(
        Agrees::AsOffered,
        &[windows(10, 8)],
        Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=8"),
    ),
    // Python's zlib does not compress with 8. Node's does with 9, and goes no further back than 250
    // octets.
    ServerCase {
        agrees: Agrees::AsOffered,
        offers: &[windows(8, 15)],
        ws: Some("permessage-deflate; server_max_window_bits=8; client_max_window_bits=15"),
        websockets: None,
    },
    ServerCase {
        agrees: Agrees::AsOffered,
        offers: &[windows(8, 15), BROWSER],
        ws: Some("permessage-deflate; server_max_window_bits=8; client_max_window_bits=15"),
        websockets: Some("permessage-deflate"),
    },
    // A server may ask for what was not offered, but for a smaller window of the client's.
    ServerCase {
        agrees: Agrees::ToLess,
        offers: &[BROWSER],
        ws: Some(
            "permessage-deflate; client_max_window_bits=11; server_no_context_takeover; \
             client_no_context_takeover; server_max_window_bits=10",
        ),
        websockets: Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=11",
        ),
    },
    ServerCase {
        agrees: Agrees::ToLess,
        offers: &[windows(15, 15)],
        ws: Some(
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11; \
             server_no_context_takeover; client_no_context_takeover",
        ),
        websockets: Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=11",
        ),
    },
];

const fn windows(server: u8, client: u8) -> DeflateOffer {
    let Some(client) = WindowBits::new(client) else { panic!("8 to 15") };
    DeflateOffer {
        server_max_window_bits: WindowBits::new(server),
        client_max_window_bits: Some(ClientWindow::AtMost(client)),
        ..BARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_the_client_offers() {
        assert_eq!(DEFAULT, framewright_client::Options::default().compression);
    }
}
