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
    vendor::{Answer, Class, Effect, Operation, Said, VendorClient, VendorError},
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
    /// A call was made with the newest.
    tried: bool,
    former: Option<Former>,
    refused: Option<Refused>,
}

impl State {
    /// The vendor has taken the newest.
    fn taken() -> Self {
        Self {
            taken: true,
            ..Self::default()
        }
    }

    fn is_untried(&self) -> bool {
        self.former.is_some() && !self.tried
    }

    /// What the connection says of it.
    fn word(&self) -> (bool, bool) {
        (self.is_untried(), self.refused.is_some())
    }
}

/// What the vendor took before; its client holds the connections and the token.
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
    /// Credentials that no call was made with yet, unless they are those that the vendor took last.
    pub(super) fn new(
        held: Held,
        former: Option<Former>,
        client: impl FnOnce(Keys) -> Result<Arc<VendorClient>, String>,
    ) -> Result<Self, String> {
        let (newest, held, state) = match former {
            Some(last) if last.held.hash == held.hash => (last.client, last.held, State::taken()),
            former => {
                let state = State {
                    former,
                    ..State::default()
                };
                (client(held.keys.clone())?, held, state)
            }
        };
        Ok(Self {
            newest,
            held,
            state: Mutex::new(state),
        })
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
    pub(super) fn last_taken(&self, whom: &str) -> Option<Former> {
        let state = lock(&self.state);
        let last = if state.taken {
            Former {
                held: self.held.clone(),
                client: Arc::clone(&self.newest),
            }
        } else {
            state.former.clone()?
        };
        Some(last).filter(|last| last.held.whom == whom)
    }

    /// There are former ones, and no call was made with the newest yet.
    pub fn is_untried(&self) -> bool {
        lock(&self.state).is_untried()
    }

    /// What the vendor said to the newest credentials, where calls go on with the former ones; and the
    /// Secrets that hold the newest.
    pub(super) fn refusal(&self) -> Option<(String, Vec<&str>)> {
        let state = lock(&self.state);
        let refused = state.refused.as_ref()?;
        Some((refused.message.clone(), self.held.keys.secret_names()))
    }

    /// Makes a call; where the vendor refuses the credentials or finds nothing with them, and so did
    /// nothing, once more with the others. Says also whether the connection has news of them.
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
            if !is_refused(&answer) && !finds_nothing(&answer) {
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
        let second = newest().await;
        let news = self.learn(&second, None);
        // What is not found may only be out of their sight, and would be bought again.
        let answer = if finds_nothing(&second) {
            answer
        } else {
            second
        };
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
        let before = state.word();
        if newest.is_ok() && !finds_nothing(newest) {
            *state = State::taken();
            return state.word() != before;
        }
        state.tried |= !matches!(newest, Err(error) if error.unsent);
        if let Some(message) = former.and_then(|former| refusal(newest, former)) {
            let again = Instant::now() + PAUSE;
            match &mut state.refused {
                // What was said first stands: the words of a vendor vary with each call.
                Some(refused) => refused.again = again,
                None => {
                    tracing::warn!(reason = %message, "the vendor refuses the new credentials; calls go on with the former ones");
                    state.refused = Some(Refused { message, again });
                }
            }
        }
        state.word() != before
    }
}

/// Why the newest are of no use, where the former are.
fn refusal(newest: &Outcome, former: &Outcome) -> Option<String> {
    match (newest, former) {
        (Err(error), Ok(_)) if is_refused(newest) => Some(error.message.clone()),
        (Ok(_), Ok(_)) if finds_nothing(newest) && !finds_nothing(former) => Some(
            "the vendor does not know a tenant with them that it knows with the former ones".into(),
        ),
        _ => None,
    }
}

/// The vendor does not know who calls, or does not let it do this: nothing has happened.
fn is_refused(answer: &Outcome) -> bool {
    matches!(answer, Err(error) if error.class == Class::Auth && error.effect == Effect::None)
}

/// There is nothing there, or the vendor does not show it to whom it does not know, or to another
/// account: nothing has happened.
fn finds_nothing(answer: &Outcome) -> bool {
    match answer {
        Ok(answer) => match &answer.said {
            Said::Absent => true,
            Said::Found(tenants) => tenants.is_empty(),
            Said::Tenant(_) | Said::Done | Said::Accepted(_) | Said::Exists(_) => false,
        },
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
