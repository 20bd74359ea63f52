//! Where to listen, as the command line says it.

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use std::net::IpAddr;
use std::str::FromStr;

/// An address of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Tcp(String),
    Unix(String),
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
impl Listen {
    /// The host, unless it stands for all addresses of this machine.
    pub(crate) fn host(&self) -> Option<String> {
        let Listen::Tcp(addr) = self else { return None };
        let (host, _) = addr.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_any = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        (!host.is_empty() && !is_any).then(|| host.to_owned())
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("unix: needs a path".to_owned())
            } else {
                Ok(Listen::Unix(path.into()))
            };
        }
        let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(Listen::Tcp(text.to_owned())),
            _ => Err("expected ADDR:PORT or unix:PATH".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_told_apart() {
        assert_eq!("127.0.0.1:0".parse(), Ok(Listen::Tcp("127.0.0.1:0".into())));
        assert_eq!("[::1]:5000".parse(), Ok(Listen::Tcp("[::1]:5000".into())));
        assert_eq!("unix:/run/echo".parse(), Ok(Listen::Unix("/run/echo".into())));
        for wrong in ["", "5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "unix:"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong:?}");
        }
    }
}
