//! Credentials are replaced while everything runs, and not always by good ones. Until the vendor has
//! taken the new ones, those that it took last are kept, and calls that it refuses go on with them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::lock;
use crate::{
    credentials::Keys,
    vendor::{Answer, Class, Operation, VendorClient, VendorError},
};

/// How long what was refused is left alone: then a read finds out whether the vendor has come to know
/// it, and no create does.
const PAUSE: Duration = Duration::from_secs(300);

/// Credentials, and whom they may be shown to. In memory only, and printed nowhere.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// What they are.
    pub(super) keys: Keys,
    /// A keyed hash of them.
    pub(super) hash: String,
    /// The connection's uid and URL: no other vendor is shown them.
    pub(super) whom: String,
}

/// The client with a connection's credentials as they are now, and one with those before.
#[derive(Debug)]
pub struct Clients {
    newest: Arc<VendorClient>,
    held: Held,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The vendor has taken the newest: whatever it says later, there is nothing to go back to.
    taken: bool,
    former: Option<Former>,
    refused: Option<Refused>,
}

/// What the vendor took before.
#[derive(Clone, Debug)]
pub(super) struct Former {
    pub(super) held: Held,
    pub(super) client: Arc<VendorClient>,
}

/// The vendor refuses the newest, and takes the former.
#[derive(Debug)]
struct Refused {
    message: String,
    again: Instant,
}

type Outcome = Result<Answer, VendorError>;

impl Clients {
    /// Credentials that no call was made with yet, unless they are those before.
    pub(super) fn new(newest: Arc<VendorClient>, held: Held, former: Option<Former>) -> Self {
        let taken = former.as_ref().is_some_and(|f| f.held.hash == held.hash);
        let state = State {
            taken,
            former: former.filter(|_| !taken),
            refused: None,
        };
        Self {
            newest,
            held,
            state: Mutex::new(state),
        }
    }

    /// The client with the credentials as they are now, for what it knows without a call.
    pub fn newest(&self) -> &VendorClient {
        &self.newest
    }

    /// Changes with the credentials.
    pub(super) fn hash(&self) -> &str {
        &self.held.hash
    }

    /// The credentials that the vendor took last, where it is still this one that is to see them.
    pub(super) fn last_taken(&self, whom: &str) -> Option<Held> {
        let state = lock(&self.state);
        let last = if state.taken {
            &self.held
        } else {
            &state.former.as_ref()?.held
        };
        Some(last.clone()).filter(|last| last.whom == whom)
    }

    /// What the vendor said to the newest credentials, where calls go on with the former ones; and the
    /// Secrets that hold the newest.
    pub(super) fn refusal(&self) -> Option<(String, Vec<&str>)> {
        let state = lock(&self.state);
        let refused = state.refused.as_ref()?;
        Some((refused.message.clone(), self.held.keys.secret_names()))
    }

    /// Makes a call; where the vendor refuses the credentials, and so did nothing, once more with the
    /// others. Says also whether [`Clients::refusal`] has news.
    pub(super) async fn call<C: Future<Output = Outcome>>(
        &self,
        operation: Operation,
        send: impl Fn(Arc<VendorClient>) -> C,
    ) -> (Outcome, bool) {
        let newest = || send(Arc::clone(&self.newest));
        let Some((former, newest_first)) = self.former(operation) else {
            let answer = newest().await;
            let news = self.learn(&answer, None);
            return (answer, news);
        };
        if newest_first {
            let answer = newest().await;
            if !is_refused(&answer) {
                let news = self.learn(&answer, None);
                return (answer, news);
            }
            let second = send(former).await;
            let news = self.learn(&answer, Some(&second));
            // Where both are refused, those count that can be corrected.
            return (if is_refused(&second) { answer } else { second }, news);
        }
        let answer = send(former).await;
        if !is_refused(&answer) {
            return (answer, false);
        }
        let answer = newest().await;
        let news = self.learn(&answer, None);
        (answer, news)
    }

    /// The former client, where there is one, and whether the newest is tried before it.
    fn former(&self, operation: Operation) -> Option<(Arc<VendorClient>, bool)> {
        let state = lock(&self.state);
        let client = Arc::clone(&state.former.as_ref()?.client);
        let newest_first = match &state.refused {
            None => true,
            Some(refused) => operation.is_read() && refused.again <= Instant::now(),
        };
        Some((client, newest_first))
    }

    /// What the newest were answered, and then the former; says whether that is news.
    fn learn(&self, newest: &Outcome, former: Option<&Outcome>) -> bool {
        let mut state = lock(&self.state);
        if state.taken {
            return false;
        }
        if newest.is_ok() {
            let was = std::mem::replace(
                &mut *state,
                State {
                    taken: true,
                    ..State::default()
                },
            );
            return was.refused.is_some();
        }
        match (newest, former) {
            (Err(error), Some(former)) if is_refused(newest) && former.is_ok() => {
                let refused = Refused {
                    message: error.message.clone(),
                    again: Instant::now() + PAUSE,
                };
                let news = state.refused.replace(refused).is_none();
                if news {
                    tracing::warn!(%error, "the vendor refuses the new credentials; calls go on with the former ones");
                }
                news
            }
            _ => false,
        }
    }
}

/// The vendor does not know who calls, or does not let it do this: nothing has happened.
fn is_refused(answer: &Outcome) -> bool {
    matches!(answer, Err(error) if error.class == Class::Auth)
}

#[cfg(test)]
mod tests;
