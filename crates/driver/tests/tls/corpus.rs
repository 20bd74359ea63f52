//! Replays the corpus of the fuzz target `tls`, and keeps its whole sessions up to date.

use crate::fuzz::{IS_TLS13, SERVES, check, outcome};
use crate::glass::record;
use crate::peer::{Setting, arrive};
use framewright_driver::Transport;
use framewright_driver::tls::Fault;
use rustls::server::NoServerSessionStorage;
use rustls::{ContentType, ProtocolVersion};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/tls"))
}

#[test]
fn the_corpus_passes() {
    let mut count = 0;
    for entry in fs::read_dir(folder()).expect("a corpus") {
        check(&fs::read(entry.expect("an entry").path()).expect("a seed"));
        count += 1;
    }
    assert!(count >= 4, "{count} seeds");
}

/// A session from its first byte to close_notify, as a seed: another version of rustls may say
/// something else in its handshake.
#[test]
fn the_corpus_has_a_whole_session_of_each_kind() {
    for mut setting in Setting::of_glass() {
        if setting.serves {
            setting.server.session_storage = Arc::new(NoServerSessionStorage {});
        }
        let is_tls13 = setting.version == ProtocolVersion::TLSv1_3;
        let (mut ours, mut peer) = setting.start();
        let mut stream = Vec::new();
        for _ in 0..5 {
            ours.read(&mut [0; 100]);
            peer.hear(&ours.take_written()).expect("no fault");
            let flight = peer.take();
            arrive(&mut ours, [&flight[..]]);
            stream.extend(flight);
        }
        assert!(!ours.is_handshaking());
        stream.extend(peer.say(b"one"));
        if is_tls13 {
            stream.extend(peer.update_keys());
        }
        stream.extend(record(setting.version, ContentType::ApplicationData, b"", 0));
        stream.extend(peer.say(b"two"));
        stream.extend(peer.notify());

        let bits = if setting.serves { SERVES } else { 0 } | if is_tls13 { IS_TLS13 } else { 0 };
        let found = outcome(bits, &stream);
        assert_eq!((found.established, &found.read[..], found.fault), (true, &b"onetwo"[..], None::<Fault>));

        let seed = [&[bits, 1][..], &stream].concat();
        let role = if setting.serves { "server" } else { "client" };
        let file = folder().join(format!("{role}-of-tls-1-{}", if is_tls13 { 3 } else { 2 }));
        if std::env::var_os("WRITE_SEEDS").is_some() {
            fs::write(&file, &seed).expect("a seed is written");
        }
        let message = "it is not current: run this test with WRITE_SEEDS=1";
        assert!(fs::read(&file).is_ok_and(|current| current == seed), "{}: {message}", file.display());
    }
}
