//! TLS, for those that are measured with it: the certificate that the report has made, and rustls'
//! defaults but for session tickets, which it has to be given a key for.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::serve;

/// As [`serve`], with TLS between the socket and the library: tokio-rustls, as each of them would
/// have it.
///
/// # Errors
/// If it cannot listen or accept. A handshake that fails is the end of its connection.
pub fn serve_tls<F, C>(config: Arc<ServerConfig>, connection: F) -> anyhow::Result<()>
where
    F: Fn(TlsStream<TcpStream>) -> C + Copy + Send + 'static,
    C: Future<Output = ()> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(config);
    serve(move |stream| {
        let handshake = acceptor.accept(stream);
        async move {
            if let Ok(stream) = handshake.await {
                connection(stream).await;
            }
        }
    })
}

/// The settings of `--tls-cert FILE --tls-key FILE`, both PEM; none without them.
///
/// # Errors
/// If only one of the two is given, or a file is not what it should be.
pub fn tls() -> anyhow::Result<Option<Arc<ServerConfig>>> {
    let (mut cert, mut key) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--tls-cert" => cert = arguments.next(),
            "--tls-key" => key = arguments.next(),
            _ => {}
        }
    }
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            let config = config(&cert, &key).with_context(|| format!("with {cert} and {key}"))?;
            Ok(Some(Arc::new(config)))
        }
        _ => bail!("--tls-cert and --tls-key go together"),
    }
}

fn config(cert: &str, key: &str) -> anyhow::Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.ticketer = Ticketer::new()?;
    Ok(config)
}
