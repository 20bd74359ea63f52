//! The offers that the peers make, and what the echo program has to answer.

use framewright::deflate::{ClientWindow, DeflateOffer, WindowBits};

use crate::compress::Compress;

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

const BARE: DeflateOffer = DeflateOffer {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: None,
};

/// No offer with a value is answered with a larger one, and none without `client_max_window_bits` with that parameter. With
/// `takeover` a client that lets itself be told keeps to 4 KiB.
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
    // Only a peer that can compress with 8, or with 9 and matches that do not go back further than 8 allows.
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

const fn windows(server: u8, client: u8) -> DeflateOffer {
    let Some(client) = WindowBits::new(client) else { panic!("8 to 15") };
    DeflateOffer {
        server_max_window_bits: WindowBits::new(server),
        client_max_window_bits: Some(ClientWindow::AtMost(client)),
        ..BARE
    }
}
