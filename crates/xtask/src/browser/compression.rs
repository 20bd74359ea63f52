//! Messages of the page, compressed both ways: told by the octets between the browser and the
//! server, not by what either says.

use std::net::SocketAddr;

use framewright::deflate::DeflateOffer;
use framewright_cli::Compress;
use framewright_testkit::programs::server::ServerProcess;

use super::page::{Page, echoed, page_of};
use crate::echo_server;
use crate::wire::{Compresses, Exchange, Expected, Message, Proxy, ratio};

/// A server that compresses in this way, behind a proxy that records.
pub(super) struct Recorded {
    mode: Compress,
    proxy: Proxy,
    _server: ServerProcess,
}

impl Recorded {
    pub(super) fn start(mode: Compress) -> anyhow::Result<Self> {
        let server = echo_server::start(&["--compress", &mode.to_string()])?;
        Ok(Self { mode, proxy: Proxy::start(server.addr())?, _server: server })
    }

    /// Where the browser finds the server.
    pub(super) fn addr(&self) -> SocketAddr {
        self.proxy.addr()
    }

    /// What the server answers to a browser.
    fn answer(&self) -> Option<&'static str> {
        match self.mode {
            Compress::Off => None,
            Compress::Shared => {
                Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
            }
            Compress::Takeover => Some("permessage-deflate; client_max_window_bits=12"),
        }
    }
}

/// Sends some messages and looks at what they were on the wire.
pub(super) async fn scenario(page: &mut Page, recorded: &Recorded) -> anyhow::Result<()> {
    let short = "short";
    let json = r#"{"id":1,"name":"Grüße, 漢字, 🎉","tags":["one","two","three"],"value":0.25},"#.repeat(20);
    let octets = "é".repeat(200);
    let shown = format!("[binary, 400 bytes] {}…", "c3 a9 ".repeat(128));

    page.open(&page_of(recorded.addr())).await?;
    page.connect().await?;
    for text in [short, &json, &json] {
        page.set_value("sendMessage", text).await?;
        page.press_enter("sendMessage").await?;
        page.expect_rows("a text comes back", echoed(text)).await?;
    }
    page.click("binary").await?;
    page.set_value("sendMessage", &octets).await?;
    page.press_enter("sendMessage").await?;
    page.expect_rows("so do octets", echoed(&shown)).await?;
    page.click("closeButton").await?;
    page.expect_state("Closed").await?;

    let message = |text, data: &str| Message { text, fragments: 0, compressible: true, data: data.into() };
    let messages =
        [message(true, short), message(true, &json), message(true, &json), message(false, &octets)];
    let offers = [DeflateOffer::default()];
    let expected = Expected {
        offers: &offers,
        answer: recorded.answer(),
        client: Compresses::All,
        server: Compresses::WherePays,
        messages: &messages,
    };
    let exchange = Exchange::read(recorded.proxy.next_websocket()?, &offers)?;
    expected.check(&exchange)?;
    let ((sent, as_sent), (back, as_back)) = (ratio(&exchange.client), ratio(&exchange.server));
    let what = format!("on the wire {sent} octets were {as_sent}, and {back} back were {as_back}");
    page.check(&what, as_sent < sent && as_back < back, &exchange)
}
