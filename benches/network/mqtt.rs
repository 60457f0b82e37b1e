//! The least that is needed of MQTT 3.1.1: to publish and to subscribe at
//! QoS 0.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use crate::lane::Lane;
use crate::wire::Peer;

/// A connection on which what is said on `topic` comes.
pub(crate) fn listen(broker: SocketAddr, topic: &str) -> Result<Lane> {
    let mut lane = Lane::connect(Peer::Mqtt, broker)?;
    let mut body = vec![0, 1];
    text(&mut body, topic);
    body.push(0);
    let answer = lane.ask(&packet(0x82, &body))?;
    ensure!(
        answer == [0x90, 3, 0, 1, 0],
        "subscribing is answered with {answer:?}"
    );
    Ok(lane)
}

/// A packet that publishes.
pub(crate) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    body.extend_from_slice(payload);
    packet(0x30, &body)
}

/// Topic and payload of a message that has come.
pub(crate) fn message(packet: &[u8]) -> Result<(&str, &[u8])> {
    let header = 1
        + packet
            .iter()
            .skip(1)
            .take_while(|b| **b & 0x80 != 0)
            .count()
        + 1;
    let cut = || {
        let body = packet.get(header..)?;
        let (length, rest) = body.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        rest.split_at_checked(length)
    };
    ensure!(
        packet.first().is_some_and(|kind| kind >> 4 == 3),
        "no message, but {packet:?}"
    );
    let (topic, payload) = cut().context("a message that is cut off")?;
    Ok((std::str::from_utf8(topic)?, payload))
}

fn text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("a short topic");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            break;
        }
        out.push(low | 0x80);
    }
    out.extend_from_slice(body);
    out
}
