//! The endpoints of a server that speak TLS, and changing their settings while it runs.

use super::settings::{ServerTls, TlsSettings};
use crate::event_loop::listen_addr::ListenAddr;
use rustls::ServerConfig;
use std::error;
use std::fmt;
use std::sync::Arc;

/// The settings of all endpoints with TLS, while a server is built and as long as it exists.
#[derive(Debug, Default)]
pub(crate) struct TlsEndpoints {
    /// With the settings that each was made of, which tell those that are shared.
    settings: Vec<(Arc<ServerConfig>, Arc<TlsSettings>)>,
    /// The addresses that are listened at with TLS.
    addrs: Vec<(ListenAddr, Arc<TlsSettings>)>,
}

impl TlsEndpoints {
    /// Adds an address that is listened at. Returns its settings, which it shares with those that
    /// were given clones of `tls`.
    pub(crate) fn add(&mut self, addr: &ListenAddr, tls: &ServerTls) -> Arc<TlsSettings> {
        let config = tls.config();
        let shared = self.settings.iter().find(|(made_of, _)| Arc::ptr_eq(made_of, config));
        let settings = shared.map(|(_, settings)| Arc::clone(settings)).unwrap_or_else(|| {
            let settings = Arc::new(TlsSettings::new(tls));
            self.settings.push((Arc::clone(config), Arc::clone(&settings)));
            settings
        });
        self.addrs.push((addr.clone(), Arc::clone(&settings)));
        settings
    }

    /// Ends the building: forgets the settings that the endpoints were made of.
    pub(crate) fn complete(mut self) -> Self {
        self.settings = Vec::new();
        self
    }

    /// The addresses that are listened at with TLS.
    pub(crate) fn addrs(&self) -> impl Iterator<Item = &ListenAddr> {
        self.addrs.iter().map(|(addr, _)| addr)
    }

    /// See [`ServerHandle::set_tls`](crate::ServerHandle::set_tls).
    pub(crate) fn set(&self, tls: &ServerTls) -> Result<(), SetTlsError> {
        let (_, first) = self.addrs.first().ok_or(SetTlsError::NoTls)?;
        if self.addrs.iter().any(|(_, settings)| !Arc::ptr_eq(settings, first)) {
            return Err(SetTlsError::Several);
        }
        tls.check().map_err(SetTlsError::Unusable)?;
        first.set(tls);
        Ok(())
    }

    /// See [`ServerHandle::set_tls_at`](crate::ServerHandle::set_tls_at).
    pub(crate) fn set_at(&self, addr: &ListenAddr, tls: &ServerTls) -> Result<(), SetTlsError> {
        let found = self.addrs.iter().find(|(listens_at, _)| listens_at == addr);
        let (_, settings) = found.ok_or(SetTlsError::NoTls)?;
        tls.check().map_err(SetTlsError::Unusable)?;
        settings.set(tls);
        Ok(())
    }
}

/// Why TLS settings were not changed. From [`ServerHandle::set_tls`](crate::ServerHandle::set_tls)
/// and [`ServerHandle::set_tls_at`](crate::ServerHandle::set_tls_at).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SetTlsError {
    /// No endpoint speaks TLS, or none that listens at this address.
    NoTls,
    /// Several endpoints speak TLS with different settings:
    /// [`set_tls_at`](crate::ServerHandle::set_tls_at) says which one is meant.
    Several,
    /// The settings cannot be used: they were made with rustls, and accept early data.
    Unusable(rustls::Error),
    /// The server has ended.
    Ended,
}

impl fmt::Display for SetTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetTlsError::NoTls => f.write_str("there is no such endpoint with TLS"),
            SetTlsError::Several => {
                f.write_str("several endpoints have different TLS settings: name one by its address")
            }
            SetTlsError::Unusable(error) => write!(f, "the TLS settings cannot be used: {error}"),
            SetTlsError::Ended => f.write_str("the server has ended"),
        }
    }
}

impl error::Error for SetTlsError {}
