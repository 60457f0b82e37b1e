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
use super::session::{Session, SessionError};
use super::words::Words;
use super::{Setup, now};

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
            opened = Session::open(setup, link, &mut words, &mut dice) => opened,
        };
        let pause = match opened {
            Ok(session) => {
                outage.is_over(setup);
                let began = now();
                let Err(why) = session.run().await else {
                    return;
                };
                link.down();
                outage.begins(began);
                outage.tell(setup, &why);
                outage.pause(&mut dice)
            }
            #[cfg(feature = "broker")]
            Err(why)
                if why.is_refused()
                    && let Some(host) = &mut host
                    && host.step_in(now()).await =>
            {
                continue;
            }
            Err(why) => {
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

    fn is_over(&mut self, setup: &Setup) {
        // whoever read that there was none wants to read that there is one
        if std::mem::take(&mut self.told) {
            tracing::warn!("connected to the broker at {}", setup.place());
        } else {
            tracing::info!("connected to the broker at {}", setup.place());
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
