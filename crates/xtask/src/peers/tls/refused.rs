//! What our client says of certificates that it does not accept, and of a server without TLS: the
//! sentence that a user reads.

use anyhow::{bail, ensure};
use framewright_client::{ClientRequest, blocking};

use super::super::install::{Agrees, Library, Peer};
use super::super::stage::Stage;
use super::super::tally::Tally;
use crate::certificates::{Authority, Certificate, Made};

/// A fault, and what the client says of it.
pub(super) struct Refused {
    what: &'static str,
    certificate: Certificate,
    sentence: &'static str,
}

/// Makes a certificate with each fault.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn all(stage: &Stage) -> anyhow::Result<[Refused; 4]> {
    let made = |name, made| stage.authority.certificate(name, made);
    let stranger = Authority::new(stage.authority.folder(), "Stranger")?;
    Ok([
        Refused {
            what: "a certificate that has expired",
            certificate: made("expired.test", Made::Expired)?,
            sentence: "TLS: the server's certificate (expired.test) expired on 2020-02-29 00:00:00 UTC; it is ",
        },
        Refused {
            what: "a certificate for another name",
            certificate: made("other.test", Made::ForAnotherName)?,
            sentence: "TLS: the server's certificate (other.test) is not for localhost, but for other.test",
        },
        Refused {
            what: "a certificate of an unknown issuer",
            certificate: stranger.certificate("stranger.test", Made::Well)?,
            sentence: "TLS: a certificate that the server's depends on (Stranger Issuer) is issued by Stranger \
                       Root, which this client does not trust",
        },
        Refused {
            what: "a certificate without the one between",
            certificate: made("alone.test", Made::WithoutTheOneBetween)?,
            sentence: "TLS: the server's certificate (alone.test) is issued by Test Issuer, which this client \
                       does not trust; no other certificate was shown, one in between may be missing",
        },
    ])
}

/// What the client says of a server without TLS: whether that answers what is no HTTP.
fn without_tls(library: Library) -> &'static str {
    match library {
        Library::Ws => "TLS: the server answered in plain text (HTTP): use ws:// or another port",
        Library::Websockets => {
            "TLS: the server ended the connection before TLS began: it may not speak TLS on this port"
        }
    }
}

/// Connects to servers of this peer, each with one of these faults, and to one without TLS.
pub(super) fn run(stage: &Stage, peer: &Peer, refused: &[Refused], tally: &mut Tally) {
    for case in refused {
        tally.note(case.what, says(stage, peer, Some(&case.certificate), case.sentence));
    }
    tally.note("no TLS at all", says(stage, peer, None, without_tls(peer.library)));
}

/// What the client says of a server with this certificate has to be this sentence; it may end with
/// any time of day.
fn says(
    stage: &Stage,
    peer: &Peer,
    certificate: Option<&Certificate>,
    sentence: &str,
) -> anyhow::Result<String> {
    let server = peer.start_server(Agrees::Never, certificate)?;
    let request = ClientRequest::try_from(format!("wss://localhost:{}/echo", server.addr().port()).as_str())?;
    let Err(error) = blocking::Client::connect_with(request, &stage.options()?) else {
        bail!("it was accepted")
    };
    let said = error.to_string();
    let same = match said.strip_prefix(sentence) {
        Some(time) if sentence.ends_with("it is ") => time.ends_with(" UTC here"),
        rest => rest == Some(""),
    };
    ensure!(same, "{said:?} instead of {sentence:?}");
    Ok(said)
}
