//! What an answer says of where a request, and its tenant, stand.

use crate::vendor::{FulfillmentStatus, Operation, Said, Tenant, TenantStatus};

/// Where a request stands by an answer.
pub(super) enum Stands {
    Done,
    Pending,
    Ended(String),
}

/// `late`: it was pending before.
pub(super) fn stands(operation: Operation, late: bool, said: &Said) -> Stands {
    let (tenant, accepted) = match said {
        Said::Absent => {
            return match operation {
                Operation::Delete => Stands::Done,
                // Not to be seen yet.
                Operation::Create if late => Stands::Pending,
                Operation::Create
                | Operation::Get
                | Operation::Poll
                | Operation::Lookup
                | Operation::Change
                | Operation::Disable
                | Operation::Enable => Stands::Ended("the tenant is not there any more".into()),
            };
        }
        Said::Tenant(tenant) | Said::Exists(Some(tenant)) => (Some(tenant), false),
        Said::Accepted(tenant) => (tenant.as_ref(), true),
        Said::Done | Said::Exists(None) | Said::Found(_) => (None, false),
    };
    if let Some(request) = tenant.and_then(|tenant| tenant.request.as_ref()) {
        let mut why = request.reason.clone();
        for error in &request.parameter_errors {
            why = format!("{why} {}: {};", error.name, error.message);
        }
        match request.status {
            FulfillmentStatus::Pending => return Stands::Pending,
            FulfillmentStatus::Inquiring => {
                return Stands::Ended(format!(
                    "the vendor asks for more ({}): give it as a parameter of the Subscription",
                    why.trim()
                ));
            }
            FulfillmentStatus::Failed => {
                return Stands::Ended(format!("the vendor decided against it: {}", why.trim()));
            }
            // The request that is shown may be one before this.
            FulfillmentStatus::Approved | FulfillmentStatus::Unknown if accepted && !late => {}
            FulfillmentStatus::Approved | FulfillmentStatus::Unknown => return Stands::Done,
        }
    }
    match tenant.map(|tenant| &tenant.status) {
        Some(TenantStatus::Pending) => Stands::Pending,
        Some(TenantStatus::Failed) => Stands::Ended("the tenant failed".into()),
        Some(TenantStatus::Active | TenantStatus::Suspended | TenantStatus::Terminated)
        | Some(TenantStatus::Unknown)
        | None => {
            if accepted {
                Stands::Pending
            } else {
                Stands::Done
            }
        }
    }
}

/// The tenant that a read shows, unless it is gone.
pub(super) fn there(said: Said) -> Option<Tenant> {
    let tenant = match said {
        Said::Tenant(tenant) | Said::Accepted(Some(tenant)) | Said::Exists(Some(tenant)) => *tenant,
        // A success without a body: it is there, and shows nothing.
        Said::Done | Said::Accepted(None) | Said::Exists(None) => Tenant::default(),
        Said::Absent | Said::Found(_) => return None,
    };
    (tenant.status != TenantStatus::Terminated).then_some(tenant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::Fulfillment;

    fn tenant(status: TenantStatus, request: Option<FulfillmentStatus>) -> Box<Tenant> {
        Box::new(Tenant {
            status,
            request: request.map(|status| Fulfillment {
                status,
                reason: "why".into(),
                parameter_errors: Vec::new(),
            }),
            ..Tenant::default()
        })
    }

    fn word(operation: Operation, late: bool, said: &Said) -> &'static str {
        match stands(operation, late, said) {
            Stands::Done => "done",
            Stands::Pending => "pending",
            Stands::Ended(_) => "ended",
        }
    }

    #[test]
    fn a_request_is_done_when_the_vendor_says_so() {
        use FulfillmentStatus::{Approved, Failed, Inquiring, Pending};
        let active = || TenantStatus::Active;
        for (operation, late, said, expected) in [
            (
                Operation::Create,
                false,
                Said::Tenant(tenant(active(), None)),
                "done",
            ),
            (
                Operation::Create,
                false,
                Said::Tenant(tenant(TenantStatus::Pending, None)),
                "pending",
            ),
            (
                Operation::Change,
                false,
                Said::Tenant(tenant(active(), Some(Pending))),
                "pending",
            ),
            // What is shown with a 202 may be the request before.
            (
                Operation::Change,
                false,
                Said::Accepted(Some(tenant(active(), Some(Approved)))),
                "pending",
            ),
            (
                Operation::Change,
                true,
                Said::Tenant(tenant(active(), Some(Approved))),
                "done",
            ),
            (
                Operation::Change,
                true,
                Said::Tenant(tenant(active(), Some(Failed))),
                "ended",
            ),
            (
                Operation::Create,
                true,
                Said::Tenant(tenant(active(), Some(Inquiring))),
                "ended",
            ),
            (Operation::Delete, false, Said::Accepted(None), "pending"),
            (Operation::Delete, true, Said::Absent, "done"),
            (Operation::Create, true, Said::Absent, "pending"),
            (Operation::Disable, false, Said::Absent, "ended"),
            (Operation::Disable, false, Said::Done, "done"),
        ] {
            assert_eq!(
                word(operation, late, &said),
                expected,
                "{operation:?} {late} {said:?}"
            );
        }
    }
}
