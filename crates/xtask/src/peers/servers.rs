//! Our client at the servers of other projects, and at the echo program.

use std::net::SocketAddr;

use framewright::deflate::DeflateOffer;
use framewright_cli::Compress;
use framewright_client::ClientRequest;

use super::cases::{CASES, SERVERS};
use super::features::{self, Target};
use super::install::{Agrees, Peer};
use super::ours::{FORMS, Form, options, with_offers};
use super::tally::{Tally, saved};
use crate::echo_server;
use crate::wire::{Compresses, Exchange, Expected, Message, Proxy};

/// Makes each offer to the server of each peer, which sends the messages back in one frame and in
/// three; then tries what does not depend on compression.
///
/// # Errors
/// If a server cannot be started.
pub(super) fn others(peers: &[Peer], messages: &[Message], tally: &mut Tally) -> anyhow::Result<()> {
    for peer in peers {
        for agrees in [Agrees::Never, Agrees::AsOffered, Agrees::ToLess] {
            let server = peer.start_server(agrees, None)?;
            println!("server {} {}, compression {agrees}", peer.name, peer.version);
            for case in SERVERS.iter().filter(|case| case.agrees == agrees) {
                let expected = Expected {
                    offers: case.offers,
                    answer: case.answer(peer.library),
                    client: Compresses::WherePays,
                    server: Compresses::All,
                    messages,
                };
                for (form, path) in FORMS.into_iter().zip(["/echo", "/fragments/3"]) {
                    note(form, path, server.addr(), &expected, tally);
                }
            }
            features::run(peer.library, &Target::plain(server.addr()), tally);
        }
    }
    Ok(())
}

/// Makes each offer to the echo program, whole and streaming, in each of these ways to compress.
///
/// # Errors
/// If it cannot be started.
pub(super) fn ours(modes: &[Compress], messages: &[Message], tally: &mut Tally) -> anyhow::Result<()> {
    for &mode in modes {
        for stream in [None, Some("--stream")] {
            let mode_name = mode.to_string();
            let args: Vec<&str> = ["--compress", &mode_name].into_iter().chain(stream).collect();
            let server = echo_server::start(&args)?;
            println!("server framewright echo {}", args.join(" "));
            let none: &[DeflateOffer] = &[];
            let offers = CASES.iter().map(|case| (case.offers, case.answer(mode)));
            for (offers, answer) in offers.chain([(none, None)]) {
                let expected = Expected {
                    offers,
                    answer,
                    client: Compresses::WherePays,
                    server: if stream.is_some() { Compresses::Some } else { Compresses::WherePays },
                    messages,
                };
                for form in FORMS {
                    note(form, "/ws", server.addr(), &expected, tally);
                }
            }
        }
    }
    Ok(())
}

/// An exchange in this form of our client, through a proxy that records it.
fn note(form: Form, path: &str, server: SocketAddr, expected: &Expected<'_>, tally: &mut Tally) {
    let what = format!("{form}, {path}, offers [{}]", expected.offered());
    tally.note(&what, exchange(form, path, server, expected));
}

fn exchange(form: Form, path: &str, server: SocketAddr, expected: &Expected<'_>) -> anyhow::Result<String> {
    let proxy = Proxy::start(server)?;
    let request = ClientRequest::try_from(format!("ws://{}{path}", proxy.addr()).as_str())?;
    form.exchange(with_offers(request, expected.offers), &options(), expected.messages)?;
    let exchange = Exchange::read(proxy.next_websocket()?, expected.offers)?;
    expected.check(&exchange)?;
    Ok(saved(&exchange))
}
