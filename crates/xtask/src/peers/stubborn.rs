//! Our client, with what it offers by default, at servers that compress with context takeover
//! whatever they are asked for: Python's `tornado` and Perl's Mojolicious. Both accept an offer
//! with `server_no_context_takeover` without that parameter, which RFC 7692, section 7.1.1.1, does
//! not allow; the client takes it for an answer to its second offer.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use framewright_client::{ClientRequest, Options};
use framewright_testkit::programs::packages::python_command;
use framewright_testkit::programs::server::ServerProcess;

use super::install::{self, TORNADO};
use super::ours::{FORMS, Form};
use super::tally::{Tally, saved};
use crate::wire::{Compresses, Exchange, Expected, Message, Proxy};

/// Exchanges two messages that are alike, and a thousand more, with each of the servers.
///
/// # Errors
/// If Tornado cannot be installed, Mojolicious is not there, or a server cannot be started.
pub(super) fn run(folder: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    let python = install::tornado(folder)?;
    let script = install::written(folder.join("tornado_server.py"), include_str!("tornado_server.py"))?;
    exchanges("Tornado", TORNADO, python_command(python).arg(script), tally)?;

    let version = install::mojolicious()?;
    let script =
        install::written(folder.join("mojolicious_server.pl"), include_str!("mojolicious_server.pl"))?;
    exchanges("Mojolicious", &version, Command::new("perl").arg(script), tally)
}

fn exchanges(name: &str, version: &str, command: &mut Command, tally: &mut Tally) -> anyhow::Result<()> {
    let server = ServerProcess::start(name, command)?;
    println!("server {name} {version}, the client's default");
    for form in FORMS {
        tally.note(&form.to_string(), exchange(form, &server).with_context(|| name.to_owned()));
    }
    Ok(())
}

fn exchange(form: Form, server: &ServerProcess) -> anyhow::Result<String> {
    let (options, messages) = (Options::default(), messages());
    let proxy = Proxy::start(server.addr())?;
    let request = ClientRequest::try_from(format!("ws://{}/echo", proxy.addr()).as_str())?;
    form.exchange(request, &options, &messages)?;
    let exchange = Exchange::read(proxy.next_websocket()?, &options.compression)?;
    let expected = Expected {
        offers: &options.compression,
        answer: Some("permessage-deflate"),
        client: Compresses::WherePays,
        server: Compresses::All,
        messages: &messages,
    };
    expected.check(&exchange)?;
    Ok(saved(&exchange))
}

/// Two texts of 240 octets that are the same, and a thousand of as many that are like them: the
/// second refers to the first.
fn messages() -> Vec<Message> {
    let message = |number: usize| {
        let mut data = format!("{{\"number\":{number},\"text\":\"{}", "as always, ".repeat(30)).into_bytes();
        data.truncate(238);
        data.extend_from_slice(b"\"}");
        Message { text: true, fragments: 1, compressible: true, data }
    };
    [0, 0].into_iter().chain(1..=1000).map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_two_alike_and_a_thousand_more_of_the_same_length() {
        let messages = messages();
        assert_eq!(messages.len(), 1002);
        assert!(messages[0].data == messages[1].data && messages[1].data != messages[2].data);
        assert!(messages.iter().all(|message| message.data.len() == 240));
    }
}
