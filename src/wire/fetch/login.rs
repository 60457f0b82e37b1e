//! Logging in at the peer, before anything is asked for.

use zeroize::Zeroizing;

use super::reply::Reply;
use super::{FetchError, field};
use crate::auth::{Credentials, Exchange, LENGTH, PRIVATE, seal};
use crate::msgpack::{Head, Reader, write};

/// The requests' numbers
const EXCHANGE: u64 = 5;
const LOGIN: u64 = 6;

/// How to log in, with the random numbers that it takes.
#[derive(Debug)]
pub struct Login {
    credentials: Credentials,
    private: Zeroizing<[u8; PRIVATE]>,
    nonce: [u8; 24],
    exchange: Option<Exchange>,
}

impl Login {
    /// A login by these credentials; the other two are random.
    #[must_use]
    pub fn new(credentials: Credentials, private: [u8; PRIVATE], nonce: [u8; 24]) -> Self {
        Self {
            credentials,
            private: Zeroizing::new(private),
            nonce,
            exchange: None,
        }
    }

    /// Begins to log in by the method that the peer wants.
    pub(super) fn begin(&mut self, method: &str, out: &mut Vec<u8>) -> Result<(), FetchError> {
        if method != self.credentials.method() {
            let mine = self.credentials.method();
            return Err(FetchError::Method(method.to_owned(), mine));
        }
        match &self.credentials {
            Credentials::Root | Credentials::Test(_) => {
                write::map(out, 6);
                self.put_user(out);
                write::str(out, "data");
                write::map(out, 0);
                write::str(out, "chroot");
                write::array(out, 0);
                put_action(out, "auth", LOGIN);
            }
            Credentials::Password(..) => {
                let exchange = Exchange::new(LENGTH, self.private.as_slice());
                write::map(out, 4);
                write::str(out, "pubkey");
                write::bin(out, &exchange.public());
                field(out, "length", LENGTH);
                put_action(out, "diffie_hellman", EXCHANGE);
                self.exchange = Some(exchange);
            }
        }
        Ok(())
    }

    fn put_user(&self, out: &mut Vec<u8>) {
        write::str(out, "typ");
        write::str(out, self.credentials.method());
        write::str(out, "ident");
        write::str(out, self.credentials.user());
    }

    /// The peer has said something; whether this node is now logged in.
    pub(super) fn hear(
        &mut self,
        reply: &Reply<'_>,
        seq: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<bool, FetchError> {
        let is_mine = matches!(seq, Some(EXCHANGE | LOGIN));
        if let Some(error) = reply.error.filter(|_| is_mine || reply.seq.is_none()) {
            let words = Reader::new(error).text().ok().flatten();
            return Err(FetchError::NotLoggedIn(
                words.unwrap_or("no reason").to_owned(),
            ));
        }
        match seq {
            Some(EXCHANGE) => {
                let key = self.key(reply)?;
                if let Credentials::Password(_, digest) = &self.credentials {
                    write::map(out, 5);
                    self.put_user(out);
                    write::str(out, "password");
                    write::bin(out, &seal(&key, &self.nonce, digest));
                    put_action(out, "auth", LOGIN);
                }
                Ok(false)
            }
            Some(LOGIN) => Ok(reply.state == Some(b"\xa3end")),
            _ => Ok(false),
        }
    }

    fn key(&mut self, reply: &Reply<'_>) -> Result<Zeroizing<[u8; 32]>, FetchError> {
        let wrong = || FetchError::NotLoggedIn("its public key is none of the group".to_owned());
        let raw = reply.get("pubkey").ok_or_else(wrong)?;
        let mut reader = Reader::new(raw);
        let public = match reader.head() {
            Ok(Head::Bin(_)) => reader.rest(),
            _ => return Err(wrong()),
        };
        // there is one exchange a login
        let exchange = self.exchange.take().ok_or_else(wrong)?;
        exchange.key(public).map_err(|_| wrong())
    }
}

fn put_action(out: &mut Vec<u8>, action: &str, seq: u64) {
    write::str(out, "action");
    write::str(out, action);
    field(out, "seq", seq);
}
