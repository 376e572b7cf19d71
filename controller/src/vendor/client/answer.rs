//! What an answer means.

use super::VendorClient;
use crate::vendor::{
    Answer, Class, Effect, Said, Tenant, VendorError,
    dialect::Ask,
    error::classify,
    text::Secrets,
    transfer::{Raw, content_type, garbage, retry_after},
    wire,
};
use std::fmt::Display;

impl VendorClient {
    /// What an answer means, for every operation but the conflict of a create.
    pub(super) fn interpret(
        &self,
        ask: &Ask<'_>,
        raw: &Raw,
        secrets: &Secrets,
    ) -> Result<Answer, VendorError> {
        let retry_after = retry_after(&raw.headers);
        let answer = |said| {
            Ok(Answer {
                said,
                retry_after,
                replayed: false,
            })
        };
        match raw.status.as_u16() {
            404 | 410 if !ask.id.is_empty() => answer(Said::Absent),
            202 => answer(Said::Accepted(
                self.body_tenant(ask, raw, secrets)?.map(Box::new),
            )),
            200..=299 => answer(match self.body_tenant(ask, raw, secrets)? {
                Some(tenant) => Said::Tenant(Box::new(tenant)),
                None => Said::Done,
            }),
            status => Err(self.refusal(status, raw, secrets)),
        }
    }

    /// What an answer that is no success says.
    fn refusal(&self, status: u16, raw: &Raw, secrets: &Secrets) -> VendorError {
        let (mut class, mut effect) = classify(status);
        let (code, said, parameters) = match self.dialect.refusal(status, (&raw.headers, &raw.body))
        {
            Some((mut error, busy)) => {
                if busy {
                    class = Class::Busy;
                    // What a gateway says for a vendor that does not answer proves nothing.
                    if status < 500 {
                        effect = Effect::None;
                    }
                }
                let message = &mut error["error"]["message"];
                if message.is_null() {
                    // What the dialect leaves unsaid, the body says itself.
                    *message = wire::error(&raw.body, content_type(raw), secrets).1.into();
                }
                wire::error_in(&error, secrets)
            }
            None => wire::error(&raw.body, content_type(raw), secrets),
        };
        let hint = if raw.status.is_redirection() {
            "; redirects are not followed"
        } else {
            ""
        };
        let said = if said.is_empty() || raw.body.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        };
        VendorError {
            class,
            effect,
            retry_after: retry_after(&raw.headers),
            status: Some(status),
            code,
            message: format!("the vendor answered {}{said}{hint}", raw.status),
            parameters,
            unsent: false,
        }
    }

    /// The tenant in a successful answer; `None` for an empty body whose headers say nothing of it.
    fn body_tenant(
        &self,
        ask: &Ask<'_>,
        raw: &Raw,
        secrets: &Secrets,
    ) -> Result<Option<Tenant>, VendorError> {
        let read = if raw.body.trim_ascii().is_empty() {
            match self.dialect.bare(ask.operation, &raw.headers) {
                Some(mapped) => mapped.and_then(|value| wire::mapped_tenant(value, secrets)),
                None => return Ok(None),
            }
        } else {
            self.tenant(ask, raw, secrets)
        };
        let mut tenant = read.map_err(|why| unreadable(raw, raw.status, why))?;
        match ask.id {
            "" if tenant.id.is_empty() => return Ok(None),
            "" => {}
            known if tenant.id.is_empty() => known.clone_into(&mut tenant.id),
            known if tenant.id != known => {
                return Err(garbage(
                    raw.status,
                    "the vendor answered with another tenant".into(),
                ));
            }
            _ => {}
        }
        Ok(Some(tenant))
    }

    pub(super) fn tenant(
        &self,
        ask: &Ask<'_>,
        raw: &Raw,
        secrets: &Secrets,
    ) -> Result<Tenant, String> {
        let product = &ask.order.product;
        match self
            .dialect
            .tenant(ask.operation, product, (&raw.headers, &raw.body))
        {
            Some(mapped) => mapped.and_then(|value| wire::mapped_tenant(value, secrets)),
            None => wire::tenant(&raw.body, secrets),
        }
    }
}

/// A success whose body is not what it has to be, and why.
pub(super) fn unreadable(raw: &Raw, answered: impl Display, why: String) -> VendorError {
    let why = if content_type(raw).contains("html") {
        "an HTML page".to_owned()
    } else {
        why
    };
    garbage(
        raw.status,
        format!("the vendor answered {answered} with {why}"),
    )
}
