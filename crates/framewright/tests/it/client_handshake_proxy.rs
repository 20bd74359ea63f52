//! RFC 9110, section 9.3.6, and RFC 7617: how a client asks a proxy for a tunnel.

use std::time::{Duration, Instant};

use framewright::handshake::{
    BasicCredentials, CredentialsError, HeadLimits, ProxyAnswer, ProxyHandshake, ResponseError,
};

fn proxy(uri: &str, credentials: Option<&BasicCredentials>) -> (ProxyHandshake, String) {
    let mut out = Vec::new();
    let (limits, now) = (HeadLimits { head: 200, ..HeadLimits::default() }, Instant::now());
    let uri = uri.parse().unwrap();
    let handshake = ProxyHandshake::new(&uri, credentials, limits, now, Duration::from_secs(1), &mut out);
    (handshake, String::from_utf8(out).unwrap())
}

#[test]
fn client_asks_a_proxy_for_a_tunnel_to_host_and_port() {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
    //# A client MUST send the port number even if the CONNECT request is based on a URI reference that contains an
    //# authority component with an elided port
    for (uri, target) in [
        ("ws://h/chat?x", "h:80"),
        ("wss://h", "h:443"),
        ("ws://h:81/", "h:81"),
        ("wss://[::1]/", "[::1]:443"),
        ("ws://1.2.3.4:5", "1.2.3.4:5"),
    ] {
        let expected = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        assert_eq!(proxy(uri, None).1, expected);
    }
    let credentials = BasicCredentials::new("Aladdin", "open sesame").unwrap();
    assert_eq!(
        proxy("ws://h/", Some(&credentials)).1,
        "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\
         Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
    );
    let debug = format!("{credentials:?}");
    assert!(!debug.contains("Aladdin") && !debug.contains("sesame"), "{debug}");
}

#[test]
fn credentials_are_what_basic_authentication_can_carry() {
    //= https://www.rfc-editor.org/rfc/rfc7617#section-2
    //# Furthermore, a user-id containing a colon character is invalid, as the first colon in a user-pass string
    //# separates user-id and password from one another; text after the first colon is part of the password.
    assert_eq!(BasicCredentials::new("a:b", "c"), Err(CredentialsError::Colon));
    //= https://www.rfc-editor.org/rfc/rfc7617#section-2
    //# The user-id and password MUST NOT contain any control characters (see "CTL" in Appendix B.1 of [RFC5234]).
    for byte in (0..0x20_u8).chain([0x7f]) {
        let text = format!("a{}", char::from(byte));
        assert_eq!(BasicCredentials::new(&text, ""), Err(CredentialsError::ControlCharacter));
        assert_eq!(BasicCredentials::new("", &text), Err(CredentialsError::ControlCharacter));
    }
    for (user, password, expected) in [
        ("", "", "Basic Og=="),
        ("a", "b:c", "Basic YTpiOmM="),
        ("test", "123\u{a3}", "Basic dGVzdDoxMjPCow=="),
    ] {
        let credentials = BasicCredentials::new(user, password).unwrap();
        assert_eq!(credentials.as_field_value().as_bytes(), expected.as_bytes());
    }
}

#[test]
fn proxy_opens_a_tunnel_with_any_2xx_and_with_nothing_else() {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
    //# Any 2xx (Successful) response indicates that the sender (and all inbound proxies) will switch to tunnel mode
    //# immediately after the response header section; data received after that header section is from the server
    //# identified by the request target.
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 299\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let octets = format!("{head}early");
        for split in 0..octets.len() {
            let (mut client, _) = proxy("ws://h/", None);
            if client.parse(&octets.as_bytes()[..split]) == Ok(None) {
                assert!(client.poll_timeout().is_some());
            }
            let tunnel = ProxyAnswer::Tunnel { head_len: head.len() };
            assert_eq!(client.parse(octets.as_bytes()), Ok(Some(tunnel)), "{head}");
            assert_eq!(client.poll_timeout(), None);
        }
    }
    for status in [101, 199, 300, 302, 403, 407, 502] {
        let octets = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\nX: y\r\n\r\nno");
        let (mut client, _) = proxy("ws://h/", None);
        let answer = client.parse(octets.as_bytes());
        if status == 199 {
            assert_eq!(answer, Err(ResponseError::NotHttp), "it is followed by another response");
            continue;
        }
        let Ok(Some(ProxyAnswer::Refused { head_len, mut body })) = answer else { panic!("{answer:?}") };
        assert!(body.push(&octets.as_bytes()[head_len..]));
        let expected = if status == 101 { &b""[..] } else { b"no" };
        assert_eq!(body.finish(), (expected.to_vec(), false));
        let response = client.response(octets.as_bytes());
        assert_eq!((response.status(), response.field("x")), (status, Some(&b"y"[..])));
    }
    let (mut client, _) = proxy("ws://h/", None);
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(100));
    assert_eq!(client.parse(endless.as_bytes()), Err(ResponseError::HeadTooLong { limit: 200 }));
    let (mut client, _) = proxy("ws://h/", None);
    assert_eq!(client.parse(b"SSH-2.0"), Err(ResponseError::NotHttp));
    let (mut client, _) = proxy("ws://h/", None);
    let deadline = client.poll_timeout().unwrap();
    assert_eq!(client.handle_timeout(deadline), Some(ResponseError::Timeout));
    let (mut client, _) = proxy("ws://h/", None);
    assert_eq!(client.handle_eof(), ResponseError::Closed);
}
