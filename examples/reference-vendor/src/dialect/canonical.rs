//! The canonical dialect, which `openapi.yaml` describes: the desk's own.

use super::{Wire, query, switched};
use crate::{
    answer::{Answer, Refusal},
    call::Call,
    desk::{Answered, Desk},
};

pub(crate) struct Canonical;

impl Wire for Canonical {
    fn create(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered {
        desk.once(call, |desk| desk.create(call.json()?))
    }

    fn lookup(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered {
        desk.lookup(query(call, "externalId")?.as_deref())
    }

    fn get(&self, desk: &mut Desk<'_, '_>, id: &str) -> Answered {
        desk.get(id)
    }

    fn change(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered {
        desk.change(id, call.json()?)
    }

    fn switch(&self, desk: &mut Desk<'_, '_>, id: &str, _call: &Call, on: bool) -> Answered {
        switched(desk, id, on)
    }

    fn delete(&self, desk: &mut Desk<'_, '_>, id: &str, _call: &Call) -> Answered {
        desk.delete(id)
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        refusal.into()
    }
}
