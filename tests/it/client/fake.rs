//! A server that is played by the test: it says what it is told to.

use moat::client::{Client, Options};
use moat::msgpack::Walker;
use moat::value::Value;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;

/// The server's end of one connection.
pub(super) struct Fake<S = DuplexStream> {
    transport: S,
    input: Vec<u8>,
    walker: Walker,
}

/// Bytes that fit between the two ends.
const PIPE: usize = 64 * 1024;

/// A client and the server it is connected to.
pub(super) async fn pair(options: &Options) -> (Client, Fake) {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let mut fake = Fake::new(theirs);
    fake.greet().await;
    let client = Client::over(ours, options).await.unwrap();
    (client, fake)
}

impl Fake<TcpStream> {
    /// The next connection that is made to this listener.
    pub(super) async fn accept(listener: &tokio::net::TcpListener) -> Self {
        let mut fake = Self::new(listener.accept().await.unwrap().0);
        fake.greet().await;
        fake
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Fake<S> {
    pub(super) fn new(transport: S) -> Self {
        Self {
            transport,
            input: Vec::new(),
            walker: Walker::new(),
        }
    }

    pub(super) async fn greet(&mut self) {
        self.send(json!({"seq": 0, "version": [0, 0, 1], "node": "fake", "tick": 1, "tock": 1, "qlen": 10}))
            .await;
    }

    /// Sends a message; paths are lists.
    pub(super) async fn send(&mut self, message: Json) {
        let bytes = rmp_serde::to_vec_named(&message).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.transport.write_all(bytes).await.unwrap();
    }

    /// The next message from the client; `None` after the last one.
    pub(super) async fn receive(&mut self) -> Option<Request> {
        loop {
            if let Some(end) = self.walker.advance(&self.input).unwrap() {
                let frame: Vec<u8> = self.input.drain(..end).collect();
                return Some(Request(Value::decode(&frame).unwrap()));
            }
            if self.transport.read_buf(&mut self.input).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next request, which must be for this action; its number.
    pub(super) async fn expect(&mut self, action: &str) -> (u64, Request) {
        let request = self.receive().await.expect("a request");
        assert_eq!(request.text("action"), Some(action), "{request:?}");
        (request.number("seq").unwrap(), request)
    }
}

/// A message from the client.
#[derive(Debug)]
pub(super) struct Request(Value);

impl Request {
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.0.field(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_str()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.as_u64()
    }
}
