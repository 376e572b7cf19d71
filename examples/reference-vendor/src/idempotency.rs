//! Creates that may be sent more than once: the first answer to a key is the answer to it.

use crate::{
    Identity,
    answer::{Answer, Effect, Refusal, Trouble},
    call::Call,
    desk::{Answered, Desk, refused},
    store::KeptAnswer,
};
use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

/// The header that names a create which may be sent more than once.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

impl Desk<'_, '_> {
    /// Does what makes a tenant, unless the call's idempotency key has an answer already.
    pub(crate) fn once(
        &mut self,
        call: &Call,
        make: impl FnOnce(&mut Self) -> Answered,
    ) -> Answered {
        if let Some(replay) = self.replay(call)? {
            return Ok(replay);
        }
        let answer = make(self)?;
        self.remember(call, &answer)?;
        Ok(answer)
    }

    /// The first answer to this create, if it has one and its key is still remembered.
    fn replay(&mut self, call: &Call) -> Result<Option<Answer>, Trouble> {
        let Some(key) = self.idempotency_key(call) else {
            return Ok(None);
        };
        let Some(kept) = self.tables.kept_answer(&key)? else {
            return Ok(None);
        };
        if kept.until <= self.now {
            return Ok(None);
        }
        if kept.fingerprint != fingerprint(call)? {
            let message = "the key came with another body before";
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(refused(status, "idempotency_key_reused", message));
        }
        let tenant = Effect {
            tenant_id: Some(kept.tenant_id),
            ..Effect::default()
        };
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        let answer = Answer {
            body: Some(kept.body),
            ..Answer::empty(status)
        };
        let replayed = HeaderValue::from_static("true");
        Ok(Some(
            answer.header(IDEMPOTENCY_REPLAYED, replayed).effect(tenant),
        ))
    }

    /// Remembers the answer for the next call with the same key. Refusals are not remembered:
    /// they had no effect, so that the caller may correct the body and use the key again.
    fn remember(&mut self, call: &Call, answer: &Answer) -> Result<(), Trouble> {
        let Some(key) = self.idempotency_key(call) else {
            return Ok(());
        };
        let kept = KeptAnswer {
            fingerprint: fingerprint(call)?,
            status: answer.status.as_u16(),
            body: answer.body.clone().unwrap_or_default(),
            tenant_id: answer.effect.tenant_id.clone().unwrap_or_default(),
            until: self.behavior.idempotency_retention.after(self.now),
        };
        Ok(self.tables.keep_answer(&key, &kept)?)
    }

    fn idempotency_key(&self, call: &Call) -> Option<String> {
        if self.identity == Identity::IdempotencyKey {
            idempotency_key(call)
        } else {
            None
        }
    }
}

/// The call's idempotency key.
pub(crate) fn idempotency_key(call: &Call) -> Option<String> {
    let key = call.headers.get(IDEMPOTENCY_KEY)?;
    Some(String::from_utf8_lossy(key.as_bytes()).into_owned())
}

fn fingerprint(call: &Call) -> Result<String, Refusal> {
    Ok(HEXLOWER.encode(&Sha256::digest(call.body()?)))
}
