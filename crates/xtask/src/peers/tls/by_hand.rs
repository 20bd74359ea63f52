//! Clients that know TLS, and of WebSocket only what they are handed: `openssl s_client` and curl.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, ensure};
use framewright_testkit::programs::process::say;

use super::super::our_server::REASON;
use super::super::stage::Stage;
use super::super::tally::Tally;

/// Lets both of them speak with the server.
///
/// # Errors
/// If one of them is not there.
pub(super) fn run(stage: &Stage, tally: &mut Tally) -> anyhow::Result<()> {
    let openssl = say(Command::new("openssl").arg("version")).context("this needs openssl")?;
    let openssl = first_two_words(&openssl);
    for version in ["-tls1_2", "-tls1_3"] {
        tally.note(&format!("{openssl} s_client {version}: a message comes back"), s_client(stage, version));
    }
    let curl = say(Command::new("curl").arg("--version")).context("this needs curl")?;
    let curl = first_two_words(&curl);
    for version in ["1.2", "1.3"] {
        let what = format!("{curl}, TLS {version}: the 101 and the Close frame behind it");
        tally.note(&what, by_curl(stage, version));
    }
    for version in ["1.2", "1.3"] {
        let what = format!("{curl}, TLS {version}: ");
        tally.note(&format!("{what}a second connection resumes the session"), resumed(stage, version));
        tally.note(&format!("{what}a certificate is asked for"), known(stage, version));
    }
    tally.note(&format!("{curl}, HTTP without TLS: a 400 that says why"), without_tls(stage));
    Ok(())
}

/// Of what a program says of its version: its name and the number.
fn first_two_words(said: &str) -> String {
    said.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// The handshake of RFC 6455, section 1.3.
const HANDSHAKE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// "Hello" (section 5.7), and a Close frame with 1000, both masked with zeros.
const SENT: &[u8] = b"\x81\x85\0\0\0\0Hello\x88\x82\0\0\0\0\x03\xe8";
const ANSWERED: &[u8] = b"\x81\x05Hello\x88\x02\x03\xe8";

/// The message has to come back, and the end of TLS behind the Close frame: without it s_client
/// fails.
fn s_client(stage: &Stage, version: &str) -> anyhow::Result<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost"]);
    command.args(["-servername", "localhost", "-alpn", "http/1.1", version]);
    command.arg("-CAfile").arg(stage.authority.file());
    command.arg("-connect").arg(stage.server.tls.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let fields: String = HANDSHAKE.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let mut stdin = child.stdin.take().context("it was asked for as a pipe")?;
    // Kept until the end: at the end of its input it would not wait for an answer.
    stdin.write_all(&[request.as_bytes(), SENT].concat())?;
    let mut stdout = child.stdout.take().context("it was asked for as a pipe")?;
    let reader = thread::spawn(move || {
        let mut seen = Vec::new();
        stdout.read_to_end(&mut seen).map(|_| seen)
    });
    let output = child.wait_with_output()?;
    let seen = reader.join().map_err(|_| anyhow::anyhow!("the reader has panicked"))??;
    drop(stdin);
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {complaints}", output.status);
    expect(&seen, ANSWERED)
}

/// Of a server that closes at once.
fn by_curl(stage: &Stage, version: &str) -> anyhow::Result<String> {
    let mut curl = curl(stage, version);
    curl.args(["--include", "--output", "-"]);
    for (name, value) in HANDSHAKE {
        curl.args(["--header", &format!("{name}: {value}")]);
    }
    curl.arg(format!("https://localhost:{}/bye", stage.server.tls.port()));
    let output = curl.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    let reason = REASON.as_bytes();
    let len = u8::try_from(2 + reason.len())?;
    expect(&output.stdout, &[&[0x88, len, 0x03, 0xe8], reason].concat())
}

/// curl, with one version of TLS.
fn curl(stage: &Stage, version: &str) -> Command {
    let mut curl = stage.curl();
    curl.args(["--tls-max", version, &format!("--tlsv{version}")]);
    curl
}

/// What the server says was agreed on.
fn agreed(version: &str, resumed: bool, certificates: usize) -> String {
    let version = version.replace('.', "_");
    format!("TLSv{version}, resumed {resumed}, {certificates} certificates of the client\n")
}

/// Two connections of one curl, one after the other.
fn resumed(stage: &Stage, version: &str) -> anyhow::Result<String> {
    let url = format!("https://localhost:{}/tls", stage.server.tls.port());
    let told = say(curl(stage, version).args(["--header", "Connection: close", &url, &url]))?;
    let expected = [agreed(version, false, 0), agreed(version, true, 0)].concat();
    ensure!(told == expected.trim_end(), "{told:?} instead of {expected:?}");
    Ok(String::new())
}

/// A client has to get in with a certificate, and not without.
fn known(stage: &Stage, version: &str) -> anyhow::Result<String> {
    let url = format!("https://localhost:{}/tls", stage.server.tls_of_known.port());
    let certificate = &stage.certificate;
    let mut with = curl(stage, version);
    let told = say(with.arg("--cert").arg(&certificate.chain).arg("--key").arg(&certificate.key).arg(&url))?;
    let expected = agreed(version, false, 2);
    ensure!(told == expected.trim_end(), "{told:?} instead of {expected:?}");
    let output = curl(stage, version).arg(&url).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    // OpenSSL's words for the alert of that name (RFC 8446, section 6.2), which rustls sends with
    // TLS 1.2, too.
    let words = "certificate required";
    ensure!(!output.status.success() && complaint.contains(words), "{}: {complaint}", output.status);
    Ok(String::new())
}

/// Whoever forgets TLS has to be told.
fn without_tls(stage: &Stage) -> anyhow::Result<String> {
    let url = format!("http://localhost:{}/who", stage.server.tls.port());
    let told = say(stage.curl().args(["--include", &url]))?;
    ensure!(told.starts_with("HTTP/1.1 400 ") && told.contains("https"), "{told}");
    Ok(String::new())
}

/// A 101 with the right answer, and this behind it.
fn expect(seen: &[u8], behind: &[u8]) -> anyhow::Result<String> {
    let end = seen.windows(4).position(|four| four == b"\r\n\r\n").context("no end of a head")?;
    let (head, rest) = seen.split_at(end + 4);
    let head = String::from_utf8_lossy(head);
    ensure!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "{head}");
    ensure!(rest == behind, "{rest:?} instead of {behind:?}");
    Ok(String::new())
}
