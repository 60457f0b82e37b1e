//! One connection to a server under test: a blocking socket and a buffer
//! that is cut into messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;

use crate::wire::{self, Op, Peer};

/// No server may be silent for that long; the original, with 1,600 sets
/// under way, takes some seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const BUFFER: usize = 64 << 10;

/// A connection.
pub(crate) struct Lane {
    peer: Peer,
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Lane {
    /// Connects and exchanges the protocol's first messages, if it has such.
    pub(crate) fn connect(peer: Peer, addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut lane = Self {
            peer,
            stream,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
        };
        match peer {
            Peer::Moat => {
                lane.message()?;
                lane.send(&wire::hello())?;
            }
            Peer::Mqtt => {
                let welcome = lane.ask(wire::MQTT_HELLO)?;
                ensure!(
                    welcome == [0x20, 2, 0, 0],
                    "the broker answers with {welcome:?}"
                );
            }
            Peer::Echo | Peer::Redis => {}
        }
        Ok(lane)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("sending")
    }

    /// One read; what it brought is given by [`Lane::next`].
    pub(crate) fn receive(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.end, 0);
        }
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => bail!("{} closed the connection", self.peer.name()),
                Ok(n) => {
                    self.end += n;
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("receiving"),
            }
        }
    }

    /// The next whole message among what was received.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        let rest = &self.buffer[self.start..self.end];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some(n) = wire::split(self.peer, rest)? else {
            return Ok(None);
        };
        self.start += n;
        Ok(Some(&rest[..n]))
    }

    /// Waits for the next message.
    pub(crate) fn message(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(message) = self.next()? {
                return Ok(message.to_vec());
            }
            self.receive()?;
        }
    }

    /// Sends a request and waits for one message.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.send(request)?;
        self.message()
    }
}

impl AsFd for Lane {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Which of many lanes have something to read.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    /// Watches the lanes; they are known by their index.
    pub(crate) fn new<'a>(lanes: impl IntoIterator<Item = &'a Lane>) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (i, lane) in lanes.into_iter().enumerate() {
            let data = epoll::EventData::new_u64(i as u64);
            epoll::add(&epoll, lane, data, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            events: Vec::with_capacity(128),
        })
    }

    /// Waits for at most `limit`, in whole milliseconds, and returns the
    /// indexes of those that can be read.
    pub(crate) fn wait(
        &mut self,
        limit: Duration,
    ) -> Result<impl Iterator<Item = usize> + use<'_>> {
        let limit = limit.try_into().context("a time-out that is too long")?;
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&limit)) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(self.events.drain(..).map(|event| {
            let data = event.data;
            usize::try_from(data.u64()).expect("an index given to `new`")
        }))
    }
}

/// Writes each of the entries `0..keys` once.
pub(crate) fn fill(peer: Peer, addr: SocketAddr, keys: u32) -> Result<()> {
    const UNDER_WAY: u32 = 128;
    assert!(keys <= wire::MOST_KEYS, "keys of a fixed width");
    let mut lane = Lane::connect(peer, addr)?;
    let mut out = Vec::new();
    let (mut sent, mut done) = (0, 0);
    while done < keys {
        while sent < keys && sent - done < UNDER_WAY {
            wire::append_once(&mut out, peer, Op::Set, sent, sent + 1);
            sent += 1;
        }
        lane.send(&out)?;
        out.clear();
        lane.receive()?;
        while let Some(reply) = lane.next()? {
            wire::verify(peer, Op::Set, reply)?;
            done += 1;
        }
    }
    Ok(())
}
