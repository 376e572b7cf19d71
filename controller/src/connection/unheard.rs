//! A connection that asks for callbacks of an operator that hears none: it works, as the vendor is polled,
//! but whoever wrote it is to know.

use fulfillment_crds::{Reason, VendorConnectionStatus};

use crate::{controller::Context, events::Note, kinds::Connection, report};

/// How a connection's message ends where nobody listens.
const UNHEARD: &str = "; no callback is taken: this operator runs without --callback-url (in the chart: callback.url), and the vendor is only polled; set it, or take spec.callback out";

/// A message that says whether callbacks are heard, whatever it said of them before.
pub(super) fn ended(message: &str, unheard: bool) -> String {
    let plain = message.strip_suffix(UNHEARD).unwrap_or(message);
    let end = if unheard { UNHEARD } else { "" };
    let room = report::MESSAGE - end.chars().count();
    plain.chars().take(room).chain(end.chars()).collect()
}

/// Whether a status says that they are not heard.
pub(super) fn is_unheard(status: &VendorConnectionStatus) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|c| c.message.ends_with(UNHEARD))
}

/// Says it in an event.
pub(super) fn warn(ctx: &Context, connection: &Connection) {
    let note = Note {
        reason: Reason::DependencyNotReady,
        action: "Reconcile".into(),
        note: UNHEARD.trim_start_matches("; ").into(),
        warning: true,
    };
    match connection {
        Connection::Namespaced(connection) => ctx.events.publish(&**connection, note),
        Connection::Cluster(connection) => ctx.events.publish(&**connection, note),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_once_that_callbacks_are_not_heard_and_only_while_it_is_so() {
        let answers = "the vendor answered the last call";
        let said = ended(answers, true);
        assert!(said.starts_with(answers) && said.ends_with(UNHEARD));
        assert_eq!(ended(&said, true), said);
        assert_eq!(ended(&said, false), answers);
    }

    #[test]
    fn the_longest_message_has_room_for_it() {
        let long = "é".repeat(report::MESSAGE);
        assert_eq!(ended(&long, false), long);
        let said = ended(&long, true);
        assert_eq!(said.chars().count(), report::MESSAGE);
        assert!(said.starts_with('é') && said.ends_with(UNHEARD));
        assert_eq!(ended(&said, true), said);
    }
}
