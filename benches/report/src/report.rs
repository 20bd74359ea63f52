//! What one run of the load generator says: the part of the JSON of `framewright bench` that is
//! used here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One run of the generator against one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Messages a second; cycles, where connections are counted.
    pub(crate) messages_per_s: f64,
    /// From sending to the reply, or from the time when it was to be sent.
    pub(crate) latency_us: Option<Latency>,
    /// The server's processor time and memory.
    pub(crate) server: Option<Server>,
    /// Whether the generator was the one that could do no more.
    pub(crate) client_limited: Option<bool>,
    /// What the replies were compressed to; 1 where they were not.
    pub(crate) reply_ratio: Option<f64>,
    /// Where connections did nothing: what they cost.
    pub(crate) idle: Option<Idle>,
    /// Over TLS: what was agreed on.
    pub(crate) tls: Option<Tls>,
}

/// What all connections of a run agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tls {
    /// The version of TLS.
    pub(crate) version: String,
    /// The cipher suite.
    pub(crate) cipher_suite: String,
    /// The group of the key exchange.
    pub(crate) key_exchange: Option<String>,
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exchange = self.key_exchange.as_deref().unwrap_or("no key exchange");
        write!(f, "{}, {}, {exchange}", self.version, self.cipher_suite)
    }
}

/// Microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Half of the replies come within.
    pub(crate) p50: f64,
    /// 99 of 100 come within.
    pub(crate) p99: f64,
    /// 999 of 1000 come within.
    pub(crate) p99_9: f64,
}

/// What the counted time cost the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    /// Nanoseconds of processor time for a message, in user mode and in the kernel. None when there
    /// were no messages.
    pub(crate) cpu_ns_per_message: Option<f64>,
    /// The part of it in user mode.
    pub(crate) user_ns_per_message: Option<f64>,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Idle {
    /// User memory for a connection.
    pub(crate) bytes_per_connection: f64,
}

impl Report {
    /// Processor time of the server for a message, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Option<f64> {
        self.server.as_ref()?.cpu_ns_per_message
    }

    /// The part of it in user mode.
    pub(crate) fn user_ns(&self) -> Option<f64> {
        self.server.as_ref()?.user_ns_per_message
    }

    /// The 99th percentile, in microseconds.
    pub(crate) fn p99(&self) -> Option<f64> {
        Some(self.latency_us.as_ref()?.p99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_generator_says_is_read() {
        let json = r#"{"url":"ws://127.0.0.1:4/ws","version":"0.1.0","workload":{"mode":"echo","connections":100},
            "duration_s":0.6,"messages":60000,"messages_per_s":100000.5,"payload_bytes_per_s":2000000.0,"reply_ratio":0.45,
            "latency_us":{"min":20.0,"mean":90.0,"p50":85.5,"p90":120.0,"p99":200.0,"p99_9":410.0,"p99_99":900.0,
            "max":1000.0,"count":60000},"client":{"cpu_s":0.5,"busy":0.9},"server":{"cpu_s":0.55,"user_s":0.05,
            "system_s":0.5,"busy":0.92,"messages_per_cpu_s":109090.0,"cpu_ns_per_message":9166.6,
            "user_ns_per_message":833.3,"rss_bytes":4000000,"peak_rss_bytes":5000000},"client_limited":false,
            "idle":null,"flood":null,"tls":{"version":"TLSv1_3","cipher_suite":"TLS13_AES_128_GCM_SHA256",
            "key_exchange":"X25519MLKEM768","full":16,"resumed":0}}"#;
        let report: Report = serde_json::from_str(json).expect("a report");
        assert_eq!(report.cpu_ns(), Some(9166.6));
        assert_eq!(report.user_ns(), Some(833.3));
        assert_eq!(report.p99(), Some(200.0));
        assert_eq!(report.client_limited, Some(false));
        assert_eq!((report.reply_ratio, report.idle), (Some(0.45), None));
        let tls = report.tls.map(|tls| tls.to_string());
        assert_eq!(tls.as_deref(), Some("TLSv1_3, TLS13_AES_128_GCM_SHA256, X25519MLKEM768"));
    }

    #[test]
    fn a_report_without_messages_has_no_time_for_one() {
        let json = r#"{"messages_per_s":0.0,"latency_us":null,"server":{"cpu_ns_per_message":null,
            "user_ns_per_message":null},"client_limited":null,"idle":{"connections":10,"bytes_per_connection":181.5,
            "baseline_bytes":1,"bytes":1816}}"#;
        let report: Report = serde_json::from_str(json).expect("a report");
        assert_eq!((report.cpu_ns(), report.p99()), (None, None));
        assert_eq!(report.idle, Some(Idle { bytes_per_connection: 181.5 }));
    }
}
