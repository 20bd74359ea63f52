//! permessage-deflate for the libraries that have it: what is asked for on the command line, and
//! the answer to an offer where a library does not answer by itself.

use anyhow::bail;

/// How messages are compressed in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// Each message by itself: nothing is kept between messages.
    Shared,
    /// With context takeover: each connection keeps what its compressor and its decompressor have
    /// seen.
    Takeover,
}

impl Compress {
    /// What `--compress shared` or `--compress takeover` asks for; without it nothing is
    /// compressed.
    ///
    /// # Errors
    /// If it is neither.
    pub fn from_args() -> anyhow::Result<Option<Self>> {
        let mut args = std::env::args().skip_while(|argument| argument != "--compress").skip(1);
        match args.next().as_deref() {
            Some("shared") => Ok(Some(Compress::Shared)),
            Some("takeover") => Ok(Some(Compress::Takeover)),
            Some(mode) => bail!("there is no compression mode {mode}"),
            None => Ok(None),
        }
    }

    /// The answer to an offer of permessage-deflate: what it asks for, and no context takeover
    /// where there is none.
    ///
    /// # Errors
    /// If it offers anything else.
    pub(crate) fn answer(self, offer: &str) -> anyhow::Result<String> {
        let mut parameters = offer.split(';').map(str::trim);
        if parameters.next() != Some("permessage-deflate") {
            bail!("permessage-deflate is not what is offered first: {offer}");
        }
        let (mut server, mut client) = (self == Compress::Shared, self == Compress::Shared);
        for parameter in parameters {
            match parameter {
                "server_no_context_takeover" => server = true,
                "client_no_context_takeover" => client = true,
                "client_max_window_bits" => {}
                _ => bail!("what is offered is not what is measured: {offer}"),
            }
        }
        let mut answer = "permessage-deflate".to_owned();
        for (wanted, parameter) in
            [(server, "server_no_context_takeover"), (client, "client_no_context_takeover")]
        {
            if wanted {
                answer.push_str("; ");
                answer.push_str(parameter);
            }
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_answered_in_the_way_of_the_mode() {
        let none = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let browser = "permessage-deflate; client_max_window_bits";
        assert_eq!(Compress::Shared.answer(browser).expect("an answer"), none);
        assert_eq!(Compress::Takeover.answer(browser).expect("an answer"), "permessage-deflate");
        assert_eq!(Compress::Takeover.answer(none).expect("an answer"), none);
    }

    #[test]
    fn other_offers_are_errors() {
        for offer in ["", "deflate", "permessage-deflate; server_max_window_bits=9", "x, permessage-deflate"]
        {
            assert!(Compress::Takeover.answer(offer).is_err(), "{offer}");
        }
    }
}
