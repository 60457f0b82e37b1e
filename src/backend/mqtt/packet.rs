//! MQTT packets, in both versions, as far as QoS 0 needs them.
//!
//! The bytes are rumqttc's business; here they become one kind of packet, and
//! a stream of bytes is cut into packets. What is longer than we take is
//! passed over, not an error: others decide what a topic carries, and no
//! message of theirs may cut us off.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

/// The greatest packet that MQTT can tell of, in bytes.
pub(super) const LARGEST: usize = 268_435_455;

/// How the broker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V311,
    V5,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V311 => "MQTT 3.1.1",
            Self::V5 => "MQTT 5",
        })
    }
}

/// Whether who subscribes hears its own messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Heard,
    Unheard,
}

/// What a broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    /// It accepts us.
    Welcome(Welcome),
    /// It does not, for that reason.
    Refused(String),
    /// It does not, for it does not speak this version.
    Unknown,
    /// A message
    Message {
        topic: String,
        payload: Bytes,
        /// Number under which it wants to be acknowledged
        ack: Option<u16>,
    },
    /// The answer to subscription `id`: one by one, whether they hold
    Subscribed { id: u16, held: Vec<bool> },
    /// It is there.
    Pong,
    /// It ends the connection, for that reason.
    Bye(String),
    /// There was a message of that many bytes, more than we take.
    TooLarge(usize),
    /// What needs no answer
    Other,
}

/// What a broker demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Welcome {
    /// Greatest packet that it takes
    pub(super) packet: Option<usize>,
    /// Seconds of silence after which it gives us up
    pub(super) keep_alive: Option<u16>,
}

/// What comes is no MQTT.
#[derive(Debug, thiserror::Error)]
#[error("the broker sends what is no MQTT: {0}")]
pub(super) struct NoPacket(String);

/// How we introduce ourselves.
#[derive(Debug)]
pub(super) struct Hello<'a> {
    pub(super) client: &'a str,
    pub(super) keep_alive: u16,
    pub(super) login: Option<(&'a str, &'a str)>,
    /// What the broker says when we have gone without a word: topic, payload
    pub(super) will: (&'a str, &'a [u8]),
    /// Greatest packet that we take
    pub(super) packet: usize,
}

/// Cuts what comes into packets.
#[derive(Debug)]
pub(super) struct Reader {
    version: Version,
    limit: usize,
    pub(super) bytes: BytesMut,
    /// How many of the next bytes belong to a message that is passed over
    skip: usize,
}

impl Reader {
    pub(super) fn new(version: Version, limit: usize) -> Self {
        Self {
            version,
            limit,
            bytes: BytesMut::new(),
            skip: 0,
        }
    }

    /// The next packet, if it has come whole.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, NoPacket> {
        let skipped = self.skip.min(self.bytes.len());
        self.bytes.advance(skipped);
        self.skip -= skipped;
        if self.skip > 0 {
            return Ok(None);
        }
        let Some(length) = packet_length(&self.bytes)? else {
            return Ok(None);
        };
        let is_message = self.bytes.first().is_some_and(|first| first >> 4 == 3);
        if length > self.limit {
            if !is_message {
                return Err(NoPacket(format!("a packet of {length} bytes")));
            }
            self.skip = length;
            return Ok(Some(Packet::TooLarge(length)));
        }
        if self.bytes.len() < length {
            self.bytes.reserve(length - self.bytes.len());
            return Ok(None);
        }
        let packet = self.bytes.split_to(length);
        match self.version {
            Version::V311 => read_v311(packet),
            Version::V5 => read_v5(packet),
        }
        .map(Some)
    }
}

/// The length of the packet that begins here, once it is known.
fn packet_length(bytes: &[u8]) -> Result<Option<usize>, NoPacket> {
    let mut rest = 0_usize;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        rest |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some(2 + at + rest));
        }
    }
    match bytes.len() {
        0..5 => Ok(None),
        _ => Err(NoPacket("a length of five bytes".to_owned())),
    }
}

fn read_v311(mut bytes: BytesMut) -> Result<Packet, NoPacket> {
    let packet = v4::Packet::read(&mut bytes, LARGEST).map_err(|e| NoPacket(e.to_string()))?;
    Ok(match packet {
        v4::Packet::ConnAck(ack) => match ack.code {
            v4::ConnectReturnCode::Success => Packet::Welcome(Welcome::default()),
            v4::ConnectReturnCode::RefusedProtocolVersion => Packet::Unknown,
            code => Packet::Refused(words(code)),
        },
        v4::Packet::Publish(message) => Packet::Message {
            topic: message.topic,
            payload: message.payload,
            ack: (message.pkid != 0).then_some(message.pkid),
        },
        v4::Packet::SubAck(ack) => Packet::Subscribed {
            id: ack.pkid,
            held: ack
                .return_codes
                .iter()
                .map(|code| matches!(code, v4::SubscribeReasonCode::Success(_)))
                .collect(),
        },
        v4::Packet::PingResp => Packet::Pong,
        v4::Packet::Disconnect => Packet::Bye("the broker has closed the connection".to_owned()),
        _ => Packet::Other,
    })
}

fn read_v5(mut bytes: BytesMut) -> Result<Packet, NoPacket> {
    // as a broker says it that knows nothing of version 5
    if bytes[..] == [0x20, 2, 0, 1] {
        return Ok(Packet::Unknown);
    }
    let packet = v5::Packet::read(&mut bytes, None).map_err(|e| NoPacket(e.to_string()))?;
    Ok(match packet {
        v5::Packet::ConnAck(ack) => match ack.code {
            v5::ConnectReturnCode::Success => {
                let demands = ack.properties.as_ref();
                Packet::Welcome(Welcome {
                    packet: demands
                        .and_then(|d| d.max_packet_size)
                        .and_then(|size| usize::try_from(size).ok()),
                    keep_alive: demands.and_then(|d| d.server_keep_alive),
                })
            }
            v5::ConnectReturnCode::UnsupportedProtocolVersion
            | v5::ConnectReturnCode::MalformedPacket
            | v5::ConnectReturnCode::ProtocolError => Packet::Unknown,
            code => Packet::Refused(words(code)),
        },
        v5::Packet::Publish(message) => Packet::Message {
            topic: String::from_utf8(message.topic.into())
                .map_err(|_| NoPacket("a topic that is no text".to_owned()))?,
            payload: message.payload,
            ack: (message.pkid != 0).then_some(message.pkid),
        },
        v5::Packet::SubAck(ack) => Packet::Subscribed {
            id: ack.pkid,
            held: ack
                .return_codes
                .iter()
                .map(|code| matches!(code, v5::SubscribeReasonCode::Success(_)))
                .collect(),
        },
        v5::Packet::PingResp(_) => Packet::Pong,
        v5::Packet::Disconnect(bye) => Packet::Bye(format!(
            "the broker has closed the connection: {}",
            words(bye.reason_code)
        )),
        _ => Packet::Other,
    })
}

/// `NotAuthorized` → `not authorized`.
fn words(code: impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Writes packets. What is written here is small and fits every limit, but
/// for messages.
impl Version {
    pub(super) fn connect(self, hello: &Hello<'_>, out: &mut BytesMut) {
        let (topic, will) = hello.will;
        match self {
            Self::V311 => {
                let mut connect = v4::Connect::new(hello.client);
                connect.keep_alive = hello.keep_alive;
                connect.clean_session = true;
                connect.last_will = Some(v4::LastWill::new(
                    topic,
                    will,
                    rumqttc::mqttbytes::QoS::AtMostOnce,
                    false,
                ));
                if let Some((user, password)) = hello.login {
                    connect.set_login(user, password);
                }
                self.write_v311(v4::Packet::Connect(connect), out);
            }
            Self::V5 => {
                let mut properties = v5::ConnectProperties::new();
                properties.max_packet_size = u32::try_from(hello.packet).ok();
                let connect = v5::Connect {
                    keep_alive: hello.keep_alive,
                    client_id: hello.client.to_owned(),
                    clean_start: true,
                    properties: Some(properties),
                };
                let will = v5::LastWill::new(
                    topic,
                    will,
                    rumqttc::v5::mqttbytes::QoS::AtMostOnce,
                    false,
                    None,
                );
                let login = hello.login.map(|(u, p)| v5::Login::new(u, p));
                self.write_v5(v5::Packet::Connect(connect, Some(will), login), out);
            }
        }
    }

    /// Writes a message at QoS 0, not to be retained. Returns whether its
    /// packet is within `limit`; if not, nothing is written.
    pub(super) fn message(
        self,
        topic: &str,
        payload: &[u8],
        limit: usize,
        out: &mut BytesMut,
    ) -> bool {
        // By hand: this is what happens a hundred thousand times a second.
        let Ok(topic_length) = u16::try_from(topic.len()) else {
            return false;
        };
        let no_properties: &[u8] = match self {
            Self::V311 => &[],
            Self::V5 => &[0],
        };
        let mut rest = 2_usize
            .saturating_add(topic.len())
            .saturating_add(no_properties.len())
            .saturating_add(payload.len());
        if rest.saturating_add(5) > limit.min(LARGEST) {
            return false;
        }
        out.reserve(rest + 5);
        out.put_u8(0x30);
        loop {
            let low = u8::try_from(rest & 0x7f).unwrap_or_default();
            rest >>= 7;
            if rest == 0 {
                out.put_u8(low);
                break;
            }
            out.put_u8(low | 0x80);
        }
        out.put_u16(topic_length);
        out.put_slice(topic.as_bytes());
        out.put_slice(no_properties);
        out.put_slice(payload);
        true
    }

    /// Whether one may subscribe without hearing oneself.
    pub(super) fn has_no_local(self) -> bool {
        self == Self::V5
    }

    /// Subscribes; `own` says whether this client's own messages come too,
    /// as they always do where [`has_no_local`](Self::has_no_local) says no.
    pub(super) fn subscribe(self, id: u16, filters: Vec<String>, own: Own, out: &mut BytesMut) {
        match self {
            Self::V311 => {
                let qos = rumqttc::mqttbytes::QoS::AtMostOnce;
                let filters = filters
                    .into_iter()
                    .map(|filter| v4::SubscribeFilter::new(filter, qos))
                    .collect();
                let packet = v4::Subscribe { pkid: id, filters };
                self.write_v311(v4::Packet::Subscribe(packet), out);
            }
            Self::V5 => {
                let qos = rumqttc::v5::mqttbytes::QoS::AtMostOnce;
                let filters = filters
                    .into_iter()
                    .map(|filter| v5::Filter {
                        nolocal: own == Own::Unheard,
                        ..v5::Filter::new(filter, qos)
                    })
                    .collect();
                let packet = v5::Subscribe {
                    pkid: id,
                    filters,
                    properties: None,
                };
                self.write_v5(v5::Packet::Subscribe(packet), out);
            }
        }
    }

    pub(super) fn unsubscribe(self, id: u16, filter: String, out: &mut BytesMut) {
        match self {
            Self::V311 => {
                let packet = v4::Unsubscribe {
                    pkid: id,
                    topics: vec![filter],
                };
                self.write_v311(v4::Packet::Unsubscribe(packet), out);
            }
            Self::V5 => {
                let packet = v5::Unsubscribe {
                    pkid: id,
                    filters: vec![filter],
                    properties: None,
                };
                self.write_v5(v5::Packet::Unsubscribe(packet), out);
            }
        }
    }

    /// Acknowledges a message that came at QoS 1.
    pub(super) fn acknowledge(self, id: u16, out: &mut BytesMut) {
        match self {
            Self::V311 => self.write_v311(v4::Packet::PubAck(v4::PubAck::new(id)), out),
            Self::V5 => self.write_v5(v5::Packet::PubAck(v5::PubAck::new(id, None)), out),
        }
    }

    pub(super) fn ping(self, out: &mut BytesMut) {
        match self {
            Self::V311 => self.write_v311(v4::Packet::PingReq, out),
            Self::V5 => self.write_v5(v5::Packet::PingReq(v5::PingReq), out),
        }
    }

    /// Says goodbye: the broker forgets our last will.
    pub(super) fn disconnect(self, out: &mut BytesMut) {
        match self {
            Self::V311 => self.write_v311(v4::Packet::Disconnect, out),
            Self::V5 => {
                let reason = v5::DisconnectReasonCode::NormalDisconnection;
                self.write_v5(v5::Packet::Disconnect(v5::Disconnect::new(reason)), out);
            }
        }
    }

    fn write_v311(self, packet: v4::Packet, out: &mut BytesMut) {
        if let Err(error) = packet.write(out, LARGEST) {
            tracing::error!("cannot write an MQTT packet: {error}");
        }
    }

    fn write_v5(self, packet: v5::Packet, out: &mut BytesMut) {
        if let Err(error) = packet.write(out, None) {
            tracing::error!("cannot write an MQTT packet: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(version: Version, bytes: &[u8], chunk: usize, limit: usize) -> Vec<Packet> {
        let mut reader = Reader::new(version, limit);
        let mut packets = Vec::new();
        for part in bytes.chunks(chunk) {
            reader.bytes.extend_from_slice(part);
            while let Some(packet) = reader.next().unwrap() {
                packets.push(packet);
            }
        }
        assert!(reader.bytes.is_empty());
        packets
    }

    fn message(topic: &str, payload: &[u8]) -> Packet {
        Packet::Message {
            topic: topic.to_owned(),
            payload: Bytes::copy_from_slice(payload),
            ack: None,
        }
    }

    #[test]
    fn messages_are_what_they_were_however_they_are_cut() {
        for version in [Version::V311, Version::V5] {
            let mut bytes = BytesMut::new();
            let mut sent = Vec::new();
            for length in [0, 1, 100, 125, 130, 16_400, 70_000] {
                let payload = vec![7; length];
                assert!(version.message("a/b", &payload, LARGEST, &mut bytes));
                sent.push(message("a/b", &payload));
            }
            for chunk in [1, 3, 1000, usize::MAX] {
                assert_eq!(
                    read_all(version, &bytes, chunk, LARGEST),
                    sent,
                    "{version:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_too_large_is_passed_over() {
        let mut bytes = BytesMut::new();
        for length in [10, 1000, 10] {
            assert!(Version::V311.message("t", &vec![1; length], LARGEST, &mut bytes));
        }
        for chunk in [1, 100, usize::MAX] {
            let packets = read_all(Version::V311, &bytes, chunk, 500);
            let small = message("t", &[1; 10]);
            assert_eq!(packets, [small.clone(), Packet::TooLarge(1006), small]);
        }
    }

    #[test]
    fn a_limit_counts_for_what_is_sent() {
        for version in [Version::V311, Version::V5] {
            let mut out = BytesMut::new();
            assert!(!version.message("topic", &[0; 200], 200, &mut out));
            assert!(!version.message(&"t".repeat(70_000), &[], LARGEST, &mut out));
            assert!(out.is_empty());
            assert!(version.message("topic", &[0; 180], 200, &mut out));
            assert!(out.len() <= 200);
        }
    }

    #[test]
    fn what_is_no_mqtt_is_refused() {
        for bytes in [
            &[0x30, 0xff, 0xff, 0xff, 0xff, 0x01][..],
            &[0x30, 0x02, 0x00, 0x09],
            &[0xf0, 0x02, 0x00, 0x00],
            &[0x30, 0x00],
            // an acknowledgement that is longer than we take
            &[0x90, 0xff, 0xff, 0x7f],
        ] {
            for version in [Version::V311, Version::V5] {
                let mut reader = Reader::new(version, 1 << 20);
                reader.bytes.extend_from_slice(bytes);
                assert!(reader.next().is_err(), "{version:?} {bytes:x?}");
            }
        }
    }

    #[test]
    fn reasons_are_words() {
        assert_eq!(
            words(v5::ConnectReturnCode::NotAuthorized),
            "not authorized"
        );
        assert_eq!(words(v4::ConnectReturnCode::BadClientId), "bad client id");
    }
}
