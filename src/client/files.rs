//! State files that a server writes.

use crate::client::Client;
use crate::client::error::Error;
use crate::client::proto::{Fields, Message};
use crate::client::request::unexpected;
use crate::event::LogInfo;

impl Client {
    /// Has the server write all changes from now on to a file, everything
    /// there is first unless it is to be `incremental`. Where the file is: the
    /// name that was given, if the server does not say (the original's).
    ///
    /// # Errors
    /// If the server cannot write it, or the client is on another machine.
    pub async fn log(&self, path: &str, incremental: bool) -> Result<String, Error> {
        let mut fields = Fields::new();
        fields.str("path", path);
        fields.bool("fetch", !incremental);
        let reply = self.request("log", &fields).await?;
        Ok(reply.text("file").unwrap_or(path).to_owned())
    }

    /// Has the server write no more changes. Its file is complete then.
    ///
    /// # Errors
    /// As any request; if the file's last bytes cannot be written.
    pub async fn end_log(&self) -> Result<(), Error> {
        let mut fields = Fields::new();
        fields.nil("path");
        self.request("log", &fields).await.map(drop)
    }

    /// Has the server write what there is now to a file, `internal` data as
    /// well if they are wanted. Where the file is, as with [`log`](Self::log).
    ///
    /// # Errors
    /// If the server cannot write it, or the client is on another machine.
    pub async fn save(&self, path: &str, internal: bool) -> Result<String, Error> {
        let mut fields = Fields::new();
        fields.str("path", path);
        fields.bool("full", internal);
        let reply = self.request("save", &fields).await?;
        Ok(reply.text("file").unwrap_or(path).to_owned())
    }

    /// Which files the server writes; `None` if it does not say, as servers of
    /// the original.
    ///
    /// # Errors
    /// As any request.
    pub async fn log_info(&self) -> Result<Option<LogInfo>, Error> {
        // the original ends the connection if it is asked
        if !self.server().await?.has("log") {
            return Ok(None);
        }
        let reply = self.request("get_log", &Fields::new()).await?;
        decode(&reply).map(Some)
    }
}

fn decode(reply: &Message) -> Result<LogInfo, Error> {
    let text = |name| reply.text(name).map(str::to_owned);
    let count = |name| reply.uint(name).ok_or_else(|| unexpected("get_log"));
    let failed = text("failed").map(|why| {
        let since = reply.seconds("failed_since");
        (why, since.unwrap_or_default())
    });
    Ok(LogInfo {
        path: text("path"),
        full: reply.bool("full").unwrap_or(false),
        since: reply.seconds("since").unwrap_or_default(),
        changes: count("changes")?,
        bytes: count("bytes")?,
        synced: count("synced")?,
        next: text("next"),
        waiting: count("waiting")?,
        failed,
        unsaved: count("unsaved")?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{Handle, Message as Sent, Sink, To, Tock};
    use crate::wire::client::{Outbox, Windows};

    #[test]
    fn what_a_server_says_of_its_files_is_read() {
        let info = LogInfo {
            path: Some("/var/lib/moat/a.dkv".to_owned()),
            full: true,
            since: Duration::from_millis(1500),
            changes: 3,
            bytes: 400,
            synced: 300,
            next: Some("/var/lib/moat/b.dkv".to_owned()),
            waiting: 2,
            failed: Some(("no space".to_owned(), Duration::from_secs(7))),
            unsaved: 5,
        };
        for info in [info, LogInfo::default()] {
            let mut outbox = Outbox::new(Windows { most: 10 });
            let handle = Handle::new(&[1]);
            outbox.send(To::Request(&handle), &Sent::Log(&info), Tock(1));
            let reply = Message::decode(outbox.bytes()).expect("a message");
            assert_eq!(decode(&reply).expect("an answer"), info);
        }
    }
}
