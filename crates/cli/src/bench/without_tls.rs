//! What [`tls`](super) is in a build without the feature `tls`: there is no such stream.

use super::target::Target;
use mio::net::TcpStream;
use serde_json::Value;
use std::io;

/// No options.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {}

impl Args {
    pub(super) fn check(&self, target: &Target) -> Result<(), String> {
        if target.tls { Err("this program was built without TLS".to_owned()) } else { Ok(()) }
    }

    pub(super) fn resumes(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Client {}

impl Client {
    pub(super) fn new(_: &Args, _: &Target) -> anyhow::Result<Option<Client>> {
        Ok(None)
    }

    pub(super) fn over(&self, _: std::net::TcpStream) -> anyhow::Result<std::net::TcpStream> {
        match *self {}
    }
}

#[derive(Debug)]
pub(super) enum Stream {}

impl Stream {
    pub(super) fn new(_: TcpStream, client: &Client) -> io::Result<Stream> {
        match *client {}
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match *self {}
    }

    pub(super) fn is_established(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_emptied(&self) -> bool {
        match *self {}
    }

    pub(super) fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn flush(&mut self) -> bool {
        match *self {}
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sessions(());

impl Sessions {
    pub(super) fn note(&mut self, stream: &Stream) -> anyhow::Result<()> {
        match *stream {}
    }

    pub(super) fn full(&self) -> u64 {
        0
    }

    pub(super) fn count_anew(&mut self) {}

    pub(super) fn check_resumed(&self) -> anyhow::Result<()> {
        Ok(())
    }

    pub(super) fn to_json(self) -> Value {
        Value::Null
    }

    pub(super) fn to_text(self) -> Option<String> {
        None
    }
}
