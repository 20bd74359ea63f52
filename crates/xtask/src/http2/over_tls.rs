//! TLS in front of the server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::certificates::Certificate;

/// Where connections arrive whose TLS handshake is done.
pub(super) struct Listener {
    addr: SocketAddr,
    accepted: Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Listener {
    /// Listens on a free port. HTTP/2 is preferred by ALPN.
    ///
    /// # Errors
    /// If it cannot listen, or read the certificate.
    pub(super) async fn bind(certificate: &Certificate) -> anyhow::Result<Self> {
        let chain = CertificateDer::pem_file_iter(&certificate.chain)?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&certificate.key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (sender, accepted) = channel(16);
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), sender));
        Ok(Self { addr, accepted })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Does the handshakes, many at a time: browsers open connections that they do not use.
async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    accepted: Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    while let Ok((tcp, client)) = listener.accept().await {
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(tcp).await {
                // It fails only at the end of the server.
                let _ = accepted.send((stream, client)).await;
            }
        });
    }
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}
