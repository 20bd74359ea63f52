//! Deadlines by tokio's clock: while a task receives, and while an attendant does it instead.

use crate::scripted::{Manner, Script, Stream, frame, stream};
use crate::support::{pair, quiet, soon};
use framewright_tokio::{
    CloseCode, Config, Error, Event, Negotiated, RecvError, Role, SendError, Timeout, WebSocket,
};
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::task::coop;
use tokio::time::{Instant, sleep};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn keep_alive_pings_leave_while_a_task_receives() {
    let config = Config { keep_alive_interval: Some(seconds(10)), ..Config::default() };
    let (mut client, mut server) = pair(1 << 16, config);
    let begun = Instant::now();
    tokio::spawn(async move { server.recv().await.is_none() });
    // The client sends Pings too.
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(matches!(soon(client.recv_event()).await, Some(Event::Ping(_))));
    }
    assert_eq!(events.iter().filter(|is_ping| **is_ping).count(), 2, "{events:?}");
    assert_eq!(begun.elapsed(), seconds(20));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_dropped_after_the_keep_alive_timeout() {
    let config = Config {
        keep_alive_interval: Some(seconds(10)),
        keep_alive_timeout: Some(seconds(5)),
        ..Config::default()
    };
    let (_client, mut server) = pair(1 << 16, config);
    let begun = Instant::now();
    let told = soon(server.recv()).await.unwrap().unwrap_err();
    assert_eq!(told, RecvError::Failed(Error::Timeout(Timeout::KeepAlive)));
    // The stream takes the Close frame, and the peer is given a second to end it.
    assert!((seconds(15)..=seconds(17)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_attendant_sends_pings_while_nobody_receives() {
    let config = Config { keep_alive_interval: Some(seconds(10)), ..Config::default() };
    let (mut client, server) = pair(1 << 16, config);
    let attending = tokio::spawn(server.attendant());
    let begun = Instant::now();
    assert!(matches!(soon(client.recv_event()).await, Some(Event::Ping(_))));
    assert_eq!(begun.elapsed(), seconds(10));
    drop(server);
    soon(attending).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attendant_spares_a_peer_that_goes_on_sending_and_drops_one_that_has_stopped() {
    let config =
        Config { keep_alive_interval: Some(seconds(10)), keep_alive_timeout: Some(seconds(5)), ..quiet() };
    let (script, mut socket) = server(config);
    let attending = tokio::spawn(socket.attendant());
    for _ in 0..12 {
        script.deliver(&frame(0x81, true, b"early"));
        sleep(seconds(4)).await;
    }
    assert!(socket.is_open() && !attending.is_finished(), "bytes of the peer wait for the application");
    for _ in 0..12 {
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_bytes(), b"early");
    }

    // The peer answers one Ping and vanishes: the Pong is read ahead.
    script.deliver(&frame(0x8a, true, b""));
    sleep(seconds(40)).await;
    assert_eq!(socket.closure().unwrap().cause, Some(Error::Timeout(Timeout::KeepAlive)));
    assert!(attending.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_attendant_spares_a_peer_that_has_sent_more_than_it_looks_at() {
    let config =
        Config { keep_alive_interval: Some(seconds(10)), keep_alive_timeout: Some(seconds(5)), ..quiet() };
    let (script, mut socket) = server(config);
    let attending = tokio::spawn(socket.attendant());
    for _ in 0..2 {
        script.deliver(&frame(0x82, true, &[7; 3000]));
        sleep(seconds(14)).await;
    }
    sleep(seconds(100)).await;
    assert!(socket.is_open() && !attending.is_finished(), "nobody knows what waits in the stream");
    for _ in 0..2 {
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_bytes(), &[7; 3000]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up_after_the_write_timeout() {
    let config = Config { write_timeout: Some(seconds(30)), ..quiet() };
    let (_client, mut server) = pair(100, config);
    let begun = Instant::now();
    assert!(soon(server.send_binary(&[0; 5000])).await.is_err());
    assert_eq!(begun.elapsed(), seconds(30));
    assert!(soon(server.recv()).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_a_close_has_the_close_timeout() {
    let config = Config { close_timeout: seconds(5), ..quiet() };
    let (_client, mut server) = pair(1 << 16, config);
    let begun = Instant::now();
    let closure = soon(server.close(None, "")).await.unwrap();
    assert_eq!(closure.cause, Some(Error::Timeout(Timeout::Close)));
    assert_eq!(begun.elapsed(), seconds(5));
}

#[tokio::test(start_paused = true)]
async fn an_idle_peer_is_dropped_but_not_for_the_time_in_which_the_application_was_away() {
    let config = Config { idle_timeout: Some(seconds(20)), ..quiet() };
    let (_client, mut server) = pair(1 << 16, config);
    sleep(seconds(100)).await;
    let begun = Instant::now();
    let told = soon(server.recv()).await.unwrap().unwrap_err();
    assert_eq!(told, RecvError::Failed(Error::Timeout(Timeout::Idle)));
    assert!(begun.elapsed() >= seconds(20), "{:?}", begun.elapsed());
}

fn server(config: Config) -> (Script, WebSocket<Stream>) {
    let (script, stream) = stream(Manner::default());
    (script, WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], config))
}

#[tokio::test(start_paused = true)]
async fn a_close_that_the_sender_starts_ends_the_receiver_after_the_close_timeout() {
    let (_script, socket) = server(Config { close_timeout: seconds(7), ..quiet() });
    let (mut receiver, mut sender) = socket.split();
    let receiving = tokio::spawn(async move { receiver.recv().await.map(|message| message.is_err()) });
    sleep(seconds(100)).await;
    let begun = Instant::now();
    sender.start_close(None, "").unwrap();
    assert_eq!(soon(receiving).await.unwrap(), Some(true));
    assert_eq!(begun.elapsed(), seconds(7));
    assert_eq!(sender.closure().unwrap().cause, Some(Error::Timeout(Timeout::Close)));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_a_sender_begins_is_kept_by_a_receiver_that_waits_already() {
    let (script, socket) = server(Config { write_timeout: Some(seconds(9)), ..quiet() });
    script.set_room(3);
    let (mut receiver, mut sender) = socket.split();
    let receiving = tokio::spawn(async move { receiver.recv().await.map(|message| message.is_err()) });
    sleep(seconds(50)).await;
    let begun = Instant::now();
    // The future that sends is dropped: nobody but the receiver waits.
    assert!(tokio::time::timeout(seconds(1), sender.send_text("blocked")).await.is_err());
    assert_eq!(soon(receiving).await.unwrap(), Some(true));
    assert_eq!(begun.elapsed(), seconds(9));
    assert_eq!(sender.closure().unwrap().cause, Some(Error::Timeout(Timeout::Write)));
}

#[tokio::test(start_paused = true)]
async fn a_sender_alone_gives_up_a_peer_that_takes_nothing_and_still_sends_pings() {
    for attended in [false, true] {
        let config =
            Config { write_timeout: Some(seconds(30)), keep_alive_interval: Some(seconds(8)), ..quiet() };
        let (script, socket) = server(config);
        script.set_room(3);
        let (receiver, mut sender) = socket.split();
        drop(receiver);
        let attending = attended.then(|| tokio::spawn(sender.attendant()));
        let begun = Instant::now();
        assert_eq!(soon(sender.send_text("blocked")).await, Err(SendError::Closed));
        assert_eq!(begun.elapsed(), seconds(30));
        assert!(!sender.is_open());
        if let Some(attending) = attending {
            soon(attending).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_makes_no_progress_ends_the_connection() {
    for attended in [false, true] {
        let (script, mut socket) = server(Config { message_timeout: Some(seconds(40)), ..quiet() });
        let begun = Instant::now();
        let frame = frame(0x82, true, &[0; 5000]);
        script.deliver(&frame[..10]);
        let attending = attended.then(|| tokio::spawn(socket.attendant()));
        let peer = tokio::spawn(async move {
            // Progress, three times, and then none.
            for part in frame[10..].chunks(1100).take(3) {
                sleep(seconds(30)).await;
                script.deliver(part);
            }
            script
        });
        let told = socket.recv().await.unwrap().unwrap_err();
        assert_eq!(told, RecvError::Failed(Error::Timeout(Timeout::Message)));
        let waited = begun.elapsed();
        assert!((seconds(130)..seconds(133)).contains(&waited), "{waited:?}");
        if let Some(attending) = attending {
            soon(attending).await.unwrap();
        }
        assert!(peer.await.unwrap().is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn the_pong_may_be_put_off_by_other_frames_but_not_for_ever() {
    let config =
        Config { keep_alive_interval: Some(seconds(10)), keep_alive_timeout: Some(seconds(5)), ..quiet() };
    let (script, mut socket) = server(config);
    let begun = Instant::now();
    let peer = tokio::spawn(async move {
        loop {
            script.deliver(&frame(0x81, true, b"no Pong"));
            sleep(seconds(2)).await;
        }
    });
    let mut messages = 0;
    let told = loop {
        match socket.recv().await.unwrap() {
            Ok(_) => messages += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(told, RecvError::Failed(Error::Timeout(Timeout::KeepAlive)));
    // 20 times the timeout, counted from the first Ping, and a time to linger.
    let waited = begun.elapsed();
    assert!((seconds(110)..=seconds(115)).contains(&waited), "{waited:?}");
    assert!(messages > 50, "{messages}");
    peer.abort();
}

#[tokio::test(start_paused = true)]
async fn an_attendant_keeps_the_idle_deadline_and_the_one_of_a_close() {
    // Nothing has arrived.
    let (script, socket) = server(Config { idle_timeout: Some(seconds(20)), ..quiet() });
    let begun = Instant::now();
    soon(socket.attendant()).await;
    assert!((seconds(20)..seconds(23)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(socket.closure().unwrap().cause, Some(Error::Timeout(Timeout::Idle)));
    assert!(script.is_shut(), "the peer sees an end");

    // A message waits for the application: nobody knows whether the answer to the Close is behind it.
    let (script, mut socket) = server(Config { close_timeout: seconds(5), ..quiet() });
    script.deliver(&frame(0x81, true, b"unread"));
    socket.start_close(None, "").unwrap();
    socket.flush().await.unwrap();
    let begun = Instant::now();
    soon(socket.attendant()).await;
    assert!((seconds(5)..seconds(7)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(socket.closure().unwrap().cause, Some(Error::Timeout(Timeout::Close)));
}

#[tokio::test(start_paused = true)]
async fn an_attendant_ends_the_stream_of_a_peer_that_takes_nothing() {
    let config = Config { idle_timeout: Some(seconds(20)), close_timeout: seconds(5), ..quiet() };
    let (script, socket) = server(config);
    script.set_room(0);
    soon(socket.attendant()).await;
    assert!(script.is_dropped(), "though the application does not look");
    assert_eq!(socket.closure().unwrap().cause, Some(Error::Timeout(Timeout::Idle)));
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_a_peer_that_stays_is_given_a_second_or_the_rest_of_its_frame() {
    for role in [Role::Server, Role::Client] {
        for announced in [0, 100] {
            let (script, stream) = stream(Manner::default());
            let mut socket = WebSocket::from_negotiated(stream, role, Negotiated::new(), &[], quiet());
            // A frame with a reserved bit.
            let octets = frame(0xc1, role == Role::Server, &vec![0; announced]);
            script.deliver(&octets[..octets.len().min(6)]);
            let begun = Instant::now();
            let told = soon(socket.recv()).await.unwrap().unwrap_err();
            assert!(matches!(told, RecvError::Failed(Error::Peer(_))), "{told:?}");
            let waited = begun.elapsed();
            assert!(waited <= seconds(3), "{waited:?}");
            assert!(script.is_shut() && script.is_dropped());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_drops_its_call_and_comes_back_late_excuses_the_peer() {
    let (_script, mut socket) = server(Config { idle_timeout: Some(seconds(20)), ..quiet() });
    assert!(tokio::time::timeout(seconds(1), socket.recv()).await.is_err());
    sleep(seconds(100)).await;
    let begun = Instant::now();
    let told = soon(socket.recv()).await.unwrap().unwrap_err();
    assert_eq!(told, RecvError::Failed(Error::Timeout(Timeout::Idle)));
    assert!(begun.elapsed() >= seconds(18), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_answer_to_a_close_cannot_be_written_does_not_wait() {
    let (mut client, mut server) = pair(1 << 16, quiet());
    server.start_close(CloseCode::NORMAL, "").unwrap();
    server.flush().await.unwrap();
    drop(server);
    let begun = Instant::now();
    let told = soon(client.recv()).await.unwrap().unwrap_err();
    assert_eq!(told, RecvError::Failed(Error::TransportLost));
    assert_eq!(begun.elapsed(), seconds(0));
}

#[tokio::test(start_paused = true)]
async fn the_write_timeout_counts_though_the_task_had_used_up_its_budget_when_it_first_waited() {
    // Nobody reads. A poll of the task writes 128 times before it has to let others go on.
    let (_client, mut server) = pair(1 << 20, Config { write_timeout: Some(seconds(30)), ..quiet() });
    let begun = Instant::now();
    let sending = async { while server.send_binary(&[0; 1000]).await.is_ok() {} };
    soon(sending).await;
    assert_eq!(begun.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn a_sender_does_not_run_for_a_deadline_that_is_not_its_own() {
    for attended in [false, true] {
        let (script, mut socket) = server(Config {
            message_timeout: Some(seconds(60)),
            write_timeout: Some(seconds(30)),
            ..quiet()
        });
        let attending = attended.then(|| tokio::spawn(socket.attendant()));
        script.deliver(&frame(0x82, true, &[0; 5000])[..10]);
        assert!(tokio::time::timeout(seconds(1), socket.recv()).await.is_err());
        if let Some(attending) = attending {
            attending.abort();
        }
        script.set_room(0);
        let begun = Instant::now();
        let peer = tokio::spawn(async move {
            for _ in 0..5 {
                sleep(seconds(20)).await;
                script.set_room(10);
            }
        });
        let mut polls = 0;
        let mut sending = std::pin::pin!(socket.send_binary(&[0; 100]));
        let sent = std::future::poll_fn(|context| {
            polls += 1;
            assert!(polls < 100, "the task wakes itself");
            sending.as_mut().poll(context)
        });
        let sent = tokio::time::timeout(seconds(300), async { tokio::join!(sent, peer).0 }).await;
        assert_eq!(sent, Ok(Err(SendError::Closed)));
        assert_eq!(begun.elapsed(), seconds(130), "the write timeout counts");
    }
}

/// Polls `work` when the task has no budget left.
async fn starved<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        while coop::has_budget_remaining() {
            if let Poll::Ready(step) = coop::poll_proceed(context) {
                step.made_progress();
            }
        }
        work.as_mut().poll(context)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn an_attendant_beside_other_work_without_a_budget_spares_a_healthy_peer() {
    let config =
        Config { keep_alive_interval: Some(seconds(10)), keep_alive_timeout: Some(seconds(5)), ..quiet() };
    let (mut client, stream) = tokio::io::duplex(1 << 16);
    let server = WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], config);
    let peer = tokio::spawn(async move {
        while client.write_all(&frame(0x8a, true, b"")).await.is_ok() {
            sleep(seconds(4)).await;
        }
    });
    let attendant = server.attendant();
    let attended = tokio::time::timeout(seconds(100), starved(attendant)).await;
    assert!(attended.is_err() && server.closure().is_none(), "{:?}", server.closure());
    peer.abort();
}

#[tokio::test(start_paused = true)]
async fn what_has_arrived_is_received_after_a_failed_write_though_the_task_has_no_budget() {
    let (mut client, mut server) = pair(1 << 16, quiet());
    client.send_text("last words").await.unwrap();
    server.feed(framewright_tokio::Message::Text("lost")).await.unwrap();
    drop(client);
    tokio::task::yield_now().await;
    // Of the budget, 128, what is left is for receiving itself and the write.
    let mut steps = 126;
    let received = std::future::poll_fn(|context| {
        for _ in 0..std::mem::take(&mut steps) {
            if let Poll::Ready(step) = coop::poll_proceed(context) {
                step.made_progress();
            }
        }
        server.poll_recv(context).map(|message| format!("{message:?}"))
    });
    assert_eq!(soon(received).await, "Some(Ok(Text(\"last words\")))");
}

#[tokio::test(start_paused = true)]
async fn the_longest_timeouts_are_none() {
    let config = Config { close_timeout: Duration::MAX, ..quiet() };
    let (mut client, mut server) = pair(1 << 16, config);
    let closing = tokio::spawn(async move { client.close(None, "").await.unwrap().clean });
    assert!(soon(server.recv()).await.is_none());
    assert!(soon(closing).await.unwrap());
}
