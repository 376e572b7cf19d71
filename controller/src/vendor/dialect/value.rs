//! What goes into expressions and comes out: JSON on one side, CEL's values on the other, and no more
//! of either than is good for whoever shares the operator.

use std::{collections::HashMap, sync::Arc};

use cel::{
    Value as Cel,
    objects::{Key, Map as CelMap, OptionalValue},
};
use serde_json::{Map, Value};

/// The most values an expression can look at, and give.
pub(super) const VALUES: usize = 16 * 1024;
/// The most bytes of text an expression can give.
const BYTES: usize = 256 * 1024;

/// The values that expressions can name: made once, and seen by as many expressions as there are.
pub(super) struct Names(Vec<(&'static str, Option<Known>)>);

/// A value, and of how many it consists.
struct Known {
    value: Cel,
    size: usize,
}

impl Names {
    /// These values by these names.
    pub(super) fn new<const N: usize>(known: [(&'static str, &Value); N]) -> Self {
        let known = known.map(|(name, value)| {
            let mut left = VALUES;
            let value = convert(value, &mut left);
            let size = VALUES - left;
            (name, value.map(|value| Known { value, size }))
        });
        Self(known.into())
    }

    /// The value of a name, if there is that much left to look at.
    pub(super) fn take(&self, name: &str, left: &mut usize) -> Option<Cel> {
        let (_, known) = self.0.iter().find(|(known, _)| *known == name)?;
        let known = known.as_ref()?;
        *left = left.checked_sub(known.size)?;
        Some(known.value.clone())
    }
}

/// What an expression gives, as JSON; `None` for what cannot stand there, and for too much.
pub(super) fn given(value: &Cel) -> Option<Value> {
    let mut left = Left {
        values: VALUES,
        bytes: BYTES,
    };
    to_json(value, &mut left)
}

/// A value that expressions can look at; `None` where it is too large for that.
pub(crate) fn to_cel(value: &Value) -> Option<Cel> {
    convert(value, &mut VALUES.clone())
}

fn convert(value: &Value, left: &mut usize) -> Option<Cel> {
    *left = left.checked_sub(1)?;
    Some(match value {
        Value::Null => Cel::Null,
        Value::Bool(yes) => Cel::Bool(*yes),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Cel::Int(n),
            (None, Some(n)) => Cel::UInt(n),
            (None, None) => Cel::Float(number.as_f64()?),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(list) => {
            let list: Option<Vec<Cel>> = list.iter().map(|v| convert(v, left)).collect();
            Cel::List(Arc::new(list?))
        }
        Value::Object(object) => {
            let map: Option<HashMap<Key, Cel>> = object
                .iter()
                .map(|(key, v)| Some((Key::String(Arc::new(key.clone())), convert(v, left)?)))
                .collect();
            Cel::Map(CelMap {
                map: Arc::new(map?),
            })
        }
    })
}

struct Left {
    values: usize,
    bytes: usize,
}

fn to_json(value: &Cel, left: &mut Left) -> Option<Value> {
    left.values = left.values.checked_sub(1)?;
    Some(match value {
        Cel::Null => Value::Null,
        Cel::Bool(yes) => Value::Bool(*yes),
        Cel::Int(n) => (*n).into(),
        Cel::UInt(n) => (*n).into(),
        Cel::Float(n) => serde_json::Number::from_f64(*n)?.into(),
        Cel::String(text) => {
            left.bytes = left.bytes.checked_sub(text.len())?;
            Value::String(text.to_string())
        }
        Cel::List(list) => {
            let list: Option<Vec<Value>> = list.iter().map(|v| to_json(v, left)).collect();
            Value::Array(list?)
        }
        Cel::Map(map) => {
            let mut object = Map::new();
            for (key, v) in map.map.iter() {
                let key = match key {
                    Key::String(text) => text.to_string(),
                    Key::Int(n) => n.to_string(),
                    Key::Uint(n) => n.to_string(),
                    Key::Bool(yes) => yes.to_string(),
                };
                left.bytes = left.bytes.checked_sub(key.len())?;
                object.insert(key, to_json(v, left)?);
            }
            Value::Object(object)
        }
        Cel::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>()?.value() {
            Some(value) => to_json(value, left)?,
            None => Value::Null,
        },
        Cel::Bytes(_) | Cel::Function(..) | Cel::Struct(_) => return None,
    })
}
