//! `framewright echo`: a server that sends every message back, with a page to try it.

use crate::page;
use crate::serving::{self, Seconds, Serving, parse_optional_seconds, parse_path, say};
use framewright_server::{
    Accept, Chunk, Config, Decision, Delivery, Handler, Incoming, Message, Options, Page, Server,
    ServerBuilder, Socket, choose_subprotocol, is_token,
};
use std::io::{self, Write};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    serving: serving::Args,
    /// The path to echo on.
    #[arg(long, default_value = "/ws", value_parser = parse_path)]
    path: String,
    /// Echo on every path, as test suites want it.
    #[arg(long)]
    any_path: bool,
    /// Seconds without any frame after which a connection is closed; 0 waits for ever.
    #[arg(long, value_name = "SECS", default_value = "0", value_parser = parse_optional_seconds)]
    idle_timeout: Seconds,
    /// Seconds in which a message that has begun has to grow, or end; 0 waits for ever.
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = parse_optional_seconds)]
    message_timeout: Seconds,
    /// How many bytes of payload a message has to grow by in that time.
    #[arg(long, value_name = "BYTES", default_value = "1024")]
    message_progress: u32,
    /// How many bytes one read asks for, at most 1 MiB.
    #[arg(long, value_name = "BYTES", default_value = "131072", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    receive_buffer_size: u32,
    /// The largest message, in bytes.
    #[arg(long, value_name = "BYTES", default_value = "16777216")]
    max_message: u64,
    /// Echo messages piece by piece as they arrive, without ever holding a whole one.
    #[arg(long)]
    stream: bool,
    /// A subprotocol to agree on, the most wanted first; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = parse_subprotocol)]
    subprotocol: Vec<String>,
}

fn parse_subprotocol(text: &str) -> Result<String, String> {
    if is_token(text.as_bytes()) {
        Ok(text.to_owned())
    } else {
        Err("a subprotocol has only letters, digits and !#$%&'*+-.^_`|~".to_owned())
    }
}

/// Serves until Ctrl-C.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let serving = Serving::new(&args.serving);
    let builder = routes(args, Server::builder().options(options(args)?));
    serving.run(builder, |serving, server, out| announce(args, serving, server, out), Vec::new())?;
    say("ended");
    Ok(())
}

fn routes(args: &Args, builder: ServerBuilder) -> ServerBuilder {
    let echo = |page: Option<Page>| Echo { subprotocols: args.subprotocol.clone(), page };
    let page = page::page(&args.path);
    if args.any_path {
        builder.route("/", echo(Some(page))).fallback(echo(None))
    } else if args.path == "/" {
        builder.route("/", echo(Some(page)))
    } else {
        builder.page("/", page).route(&args.path, echo(None))
    }
}

fn options(args: &Args) -> anyhow::Result<Options> {
    let connection = Config {
        delivery: if args.stream { Delivery::Chunks } else { Delivery::Whole },
        max_message: args.max_message,
        max_frame: args.max_message,
        idle_timeout: args.idle_timeout.get(),
        message_timeout: args.message_timeout.get(),
        message_progress: args.message_progress,
        ..Config::default()
    };
    let receive_buffer_size = usize::try_from(args.receive_buffer_size)?;
    Ok(Options { receive_buffer_size, ..args.serving.options(&connection)? })
}

/// Says where the server listens and how it is set.
fn announce(args: &Args, serving: &Serving<'_>, server: &Server, out: &mut dyn Write) -> io::Result<()> {
    serving.announce_addresses(server, out)?;
    serving.announce_urls(server, ["http", "https"], |url| format!("open {url}/ in a browser"), out)?;
    let path = if args.any_path { "every path" } else { args.path.as_str() };
    let delivery = if args.stream { "in pieces" } else { "whole" };
    writeln!(out, "echo on {path}, messages {delivery}, up to {} bytes", args.max_message)?;
    writeln!(out, "{}, idle timeout {}", serving.keep_alive(), args.idle_timeout)?;
    writeln!(out, "message timeout {}, progress {} bytes", args.message_timeout, args.message_progress)?;
    let more = format!(", receive buffer {} bytes", args.receive_buffer_size);
    serving.announce_settings(server, &more, out)?;
    if !args.subprotocol.is_empty() {
        writeln!(out, "subprotocols: {}", args.subprotocol.join(", "))?;
    }
    Ok(())
}

/// Sends everything back.
struct Echo {
    subprotocols: Vec<String>,
    /// What an ordinary request is answered with, where it is not an error.
    page: Option<Page>,
}

impl Handler for Echo {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        if !request.is_websocket() {
            return match &self.page {
                Some(page) => page.answer(request).into(),
                None => request.not_a_websocket_request().into(),
            };
        }
        let accept = match choose_subprotocol(request, &self.subprotocols) {
            Some(chosen) => Accept::new().with_subprotocol(chosen.to_owned()),
            None => Accept::new(),
        };
        // Written as Debug: a path cannot put control characters into a log. The peer is in the
        // span.
        let client = request.client_addr().map_or_else(|| "unknown".to_owned(), |client| client.to_string());
        tracing::info!(client, path = ?request.path(), "connection");
        Decision::accept_with(accept, ())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        // Refused only when the connection is closing: nothing is read while too much waits to be
        // sent.
        let _ = socket.send(message);
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, _: &mut (), chunk: Chunk<'_>) {
        let _ = socket.send_fragment(chunk.data, chunk.last);
    }
}
