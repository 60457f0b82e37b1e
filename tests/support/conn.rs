//! A client connection without any cleverness: it sends what it is told and
//! shows what comes.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PATIENCE, json as form};

/// What came over a connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    /// One message
    Message(Value),
    /// The server has closed it.
    End,
}

/// One connection to a server.
pub(crate) struct Conn {
    stream: TcpStream,
    bytes: Vec<u8>,
    start: usize,
    ended: bool,
    messages: VecDeque<Value>,
    seq: u64,
}

impl Conn {
    /// Connects; the greeting is not read yet.
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .unwrap_or_else(|e| panic!("cannot connect to port {port}: {e}"));
        stream.set_nodelay(true).expect("set no-delay");
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
            start: 0,
            ended: false,
            messages: VecDeque::new(),
            seq: 0,
        }
    }

    /// Connects and takes the greeting.
    pub(crate) fn open(port: u16) -> Self {
        let mut conn = Self::connect(port);
        let greeting = conn.message("greeting");
        assert_eq!(greeting["seq"], 0, "greeting: {greeting}");
        conn
    }

    /// Connects and takes the greeting, if the server is there.
    pub(crate) fn try_open(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_nodelay(true).ok()?;
        let mut conn = Self::over(stream);
        match conn.next(PATIENCE) {
            Some(Got::Message(_)) => Some(conn),
            _ => None,
        }
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &Value) {
        let bytes = form::encode(message);
        self.send_bytes(&bytes);
    }

    /// Sends bytes. A server that has closed the connection is no error
    /// here: what it said can still be read.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(e) => panic!("cannot send: {e}"),
        }
    }

    /// Sends as much as the system takes at once; `None` when it takes no
    /// more within `wait`.
    pub(crate) fn offer(&mut self, bytes: &[u8], wait: Duration) -> Option<usize> {
        self.stream
            .set_write_timeout(Some(wait))
            .expect("set a time-out");
        let sent = match self.stream.write(bytes) {
            Ok(n) => Some(n),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(e) => panic!("cannot send: {e}"),
        };
        self.stream
            .set_write_timeout(None)
            .expect("clear a time-out");
        sent
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next message or the end, if it comes within `wait`.
    pub(crate) fn next(&mut self, wait: Duration) -> Option<Got> {
        let end = Instant::now() + wait;
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Some(Got::Message(message));
            }
            if self.ended {
                return Some(Got::End);
            }
            let left = end.saturating_duration_since(Instant::now());
            if !self.read(left.max(Duration::from_millis(1))) && left.is_zero() {
                return None;
            }
        }
    }

    /// Reads once; false if nothing came.
    fn read(&mut self, wait: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(wait))
            .expect("set a time-out");
        let mut piece = [0; 65_536];
        match self.stream.read(&mut piece) {
            Ok(0) => self.ended = true,
            Ok(n) => self.bytes.extend_from_slice(&piece[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => self.ended = true,
            Err(e) => panic!("cannot read: {e}"),
        }
        while let Some(rest) = self.bytes.get(self.start..).filter(|r| !r.is_empty()) {
            // a whole object, or wait for more
            let Ok(length) = moat::msgpack::skip(rest) else {
                break;
            };
            let (message, _) = form::decode(&rest[..length]).expect("the server sends msgpack");
            self.messages.push_back(message);
            self.start += length;
        }
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        true
    }

    /// The next message, which must come.
    pub(crate) fn message(&mut self, what: &str) -> Value {
        match self.next(PATIENCE) {
            Some(Got::Message(message)) => message,
            Some(Got::End) => panic!("{what}: the server closed the connection"),
            None => panic!("{what}: nothing came"),
        }
    }

    /// Waits for the server to close; what came before is returned.
    pub(crate) fn until_closed(&mut self, what: &str) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            match self.next(PATIENCE) {
                Some(Got::Message(message)) => messages.push(message),
                Some(Got::End) => return messages,
                None => panic!("{what}: the connection stays open; it said {messages:?}"),
            }
        }
    }

    /// Sends a request under a fresh number, which is returned.
    pub(crate) fn ask(&mut self, mut request: Value) -> u64 {
        self.seq += 1;
        request["seq"] = json!(self.seq);
        self.send(&request);
        self.seq
    }

    /// The next message with that number. Those with others are dropped.
    pub(crate) fn reply(&mut self, seq: u64) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let message = self.message("reply");
            if message["seq"] == seq {
                return message;
            }
            assert!(
                Instant::now() < end,
                "no reply {seq} among what comes: {message}"
            );
        }
    }

    /// Sends a request and waits for its one reply.
    pub(crate) fn request(&mut self, request: Value) -> Value {
        let seq = self.ask(request);
        self.reply(seq)
    }

    /// Sends a request and waits for its stream to end; without the frames.
    pub(crate) fn stream(&mut self, request: Value) -> Vec<Value> {
        let seq = self.ask(request);
        let start = self.reply(seq);
        assert_eq!(start["state"], "start", "first message: {start}");
        let mut items = Vec::new();
        loop {
            let item = self.reply(seq);
            if item["state"] == "end" {
                return items;
            }
            items.push(item);
        }
    }

    /// Stores a value.
    pub(crate) fn set(&mut self, path: &[&str], value: Value) {
        let reply = self.request(json!({
            "action": "set_value", "path": path, "value": value, "nchain": 0
        }));
        assert!(reply.get("error").is_none(), "set {path:?}: {reply}");
    }

    /// Reads a value back.
    pub(crate) fn get(&mut self, path: &[&str]) -> Option<Value> {
        let mut reply = self.request(json!({"action": "get_value", "path": path}));
        assert!(reply.get("error").is_none(), "get {path:?}: {reply}");
        reply
            .as_object_mut()
            .and_then(|fields| fields.remove("value"))
    }
}
