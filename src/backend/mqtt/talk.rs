//! Who talks to the broker: one connection after the other, for ever, at
//! intervals that grow while there is none.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use super::dice::Dice;
#[cfg(feature = "broker")]
use super::host::{self, Host};
use super::link::Link;
use super::packet::Version;
use super::session::{Session, SessionError};
use super::words::Words;
use super::{Setup, now};
use crate::config::MqttVersion;

/// First and greatest time between two attempts.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// What fails in this way may do so again.
const AFTER_PANIC: Duration = Duration::from_secs(1);
/// A connection that has held this long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// Does that on a thread that has nothing else to do.
pub(super) fn run(talk: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(why) => {
            tracing::error!("cannot talk to the broker: {why}");
            return;
        }
    };
    LocalSet::new().block_on(&runtime, talk);
    // a look-up of a name may still be under way
    runtime.shutdown_background();
}

/// Talks to the broker until the backend ends.
pub(super) async fn keep_talking(setup: &Arc<Setup>, link: &Arc<Link>) {
    let mut task = JoinSet::new();
    loop {
        task.spawn_local(talk(Arc::clone(setup), Arc::clone(link)));
        // A panic ends a connection, not the node: each begins with nothing.
        match task.join_next().await {
            Some(Err(why)) if why.is_panic() => {
                tracing::error!("the connection to the broker failed in a way that it must not");
                link.down();
                tokio::time::sleep(AFTER_PANIC).await;
            }
            _ => return,
        }
    }
}

async fn talk(setup: Arc<Setup>, link: Arc<Link>) {
    let (setup, link) = (&*setup, &*link);
    let mut dice = Dice::random();
    let mut words = Words::new(&setup.node, setup.part, &mut dice, now());
    let mut outage = Outage::default();
    let mut speech = Speech::new(setup.config.version);
    #[cfg(feature = "broker")]
    let mut host = Host::find(setup).await;
    #[cfg(feature = "broker")]
    if host.is_some() {
        outage.stagger = host::STAGGER;
    }
    loop {
        let opened = tokio::select! {
            biased;
            _ = link.ended() => return,
            opened = Session::open(setup, speech.version, link, &mut words, &mut dice) => opened,
        };
        let pause = match opened {
            Ok(session) => {
                outage.is_over(setup, speech.version);
                speech.is_understood();
                let began = now();
                let Err(why) = session.run().await else {
                    return;
                };
                link.down();
                outage.begins(began);
                outage.tell(setup, &why);
                outage.pause(&mut dice)
            }
            Err(why) => {
                if speech.fails(&why) {
                    tracing::debug!("{why}: trying {}", speech.version);
                    continue;
                }
                #[cfg(feature = "broker")]
                if why.is_refused()
                    && let Some(host) = &mut host
                    && host.step_in(now()).await
                {
                    continue;
                }
                outage.tell(setup, &why);
                outage.pause(&mut dice)
            }
        };
        tokio::select! {
            biased;
            _ = link.ended() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The version that is spoken.
#[derive(Debug)]
struct Speech {
    version: Version,
    /// The configuration leaves no choice.
    is_fixed: bool,
    /// The broker has accepted it.
    is_known: bool,
}

impl Speech {
    const fn new(version: MqttVersion) -> Self {
        Self {
            version: match version {
                MqttVersion::V311 => Version::V311,
                MqttVersion::V5 | MqttVersion::Auto => Version::V5,
            },
            is_fixed: !matches!(version, MqttVersion::Auto),
            is_known: false,
        }
    }

    const fn is_understood(&mut self) {
        self.is_known = true;
    }

    /// An attempt to connect has failed. Returns whether to try again at
    /// once, in another version.
    fn fails(&mut self, why: &SessionError) -> bool {
        if self.is_fixed {
            return false;
        }
        let may_be_version = why.may_be_version();
        match self.version {
            Version::V5 if may_be_version => {
                self.version = Version::V311;
                self.is_known = false;
                true
            }
            // A broker that dies while we connect looks like one that does
            // not understand us. So the old version counts only for whoever
            // accepts it right away.
            Version::V311 if may_be_version || !self.is_known => {
                self.version = Version::V5;
                false
            }
            Version::V5 | Version::V311 => false,
        }
    }
}

/// A time without connection.
#[derive(Debug, Default)]
struct Outage {
    attempts: u32,
    /// Greatest first pause, if many want the same at once
    stagger: Duration,
    told: bool,
}

impl Outage {
    /// A connection has broken that was there since `began`.
    fn begins(&mut self, began: Instant) {
        if now().duration_since(began) >= GOOD {
            self.attempts = 0;
        }
    }

    fn tell(&mut self, setup: &Setup, why: &SessionError) {
        let place = setup.place();
        if self.told {
            tracing::debug!("broker at {place}: {why}");
        } else {
            tracing::warn!(
                "no connection to the broker at {place}: {why}; trying again until there is one"
            );
            self.told = true;
        }
    }

    fn is_over(&mut self, setup: &Setup, version: Version) {
        // whoever read that there was none wants to read that there is one
        if std::mem::take(&mut self.told) {
            tracing::warn!("connected to the broker at {}", setup.place());
        } else {
            tracing::info!("connected to the broker at {}, {version}", setup.place());
        }
    }

    /// How long to wait before the next attempt.
    fn pause(&mut self, dice: &mut Dice) -> Duration {
        let longest = FIRST
            .saturating_mul(1 << self.attempts.min(16))
            .min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts == 1 && !self.stagger.is_zero() {
            return dice.up_to(self.stagger);
        }
        longest / 2 + dice.up_to(longest / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_version_is_spoken_with_who_knows_no_other() {
        let no_transport = || SessionError::NoAnswer;
        let mut speech = Speech::new(MqttVersion::Auto);
        assert_eq!(speech.version, Version::V5);
        assert!(!speech.fails(&no_transport()));
        assert!(!speech.fails(&SessionError::Refused("not authorized".to_owned())));
        assert_eq!(speech.version, Version::V5);
        assert!(speech.fails(&SessionError::Unknown(Version::V5)));
        assert_eq!(speech.version, Version::V311);
        speech.is_understood();
        assert!(!speech.fails(&no_transport()));
        assert_eq!(speech.version, Version::V311, "remembered");
        // another broker has taken its place
        assert!(!speech.fails(&SessionError::Unknown(Version::V311)));
        assert_eq!(speech.version, Version::V5);
    }

    #[test]
    fn a_broker_that_dies_is_not_taken_for_an_old_one() {
        let mut speech = Speech::new(MqttVersion::Auto);
        speech.is_understood();
        assert!(speech.fails(&SessionError::Closed), "it may be one");
        assert!(!speech.fails(&SessionError::NoAnswer), "it is not");
        assert_eq!(speech.version, Version::V5);
    }

    #[test]
    fn a_version_that_is_configured_stays() {
        for (configured, version) in [
            (MqttVersion::V311, Version::V311),
            (MqttVersion::V5, Version::V5),
        ] {
            let mut speech = Speech::new(configured);
            assert!(!speech.fails(&SessionError::Unknown(version)));
            assert_eq!(speech.version, version);
        }
    }

    #[test]
    fn pauses_grow_to_half_a_minute() {
        let mut dice = Dice::new(3);
        let mut outage = Outage::default();
        let pauses: Vec<_> = (0..1000).map(|_| outage.pause(&mut dice)).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(
            pauses[9..]
                .iter()
                .all(|p| *p >= LONGEST / 2 && *p <= LONGEST)
        );
        assert!(
            pauses[9..].iter().any(|p| *p != pauses[9]),
            "not all at once"
        );
        outage.begins(now() - GOOD);
        assert!(outage.pause(&mut dice) <= FIRST);
    }
}
