//! The order of a map, which CEL's own is not.

use std::sync::Arc;

use cel::{
    Value as Cel,
    common::ast::{CallExpr, EntryExpr, Expr, IdedExpr},
    objects::Key,
};

/// What a macro goes over, with the keys of a map in order.
pub(super) const KEYS: &str = "keys_in_order";

pub(super) fn keys(over: Cel) -> Cel {
    let Cel::Map(map) = over else { return over };
    let mut keys: Vec<&Key> = map.map.keys().collect();
    keys.sort_unstable();
    Cel::List(Arc::new(keys.into_iter().map(Cel::from).collect()))
}

/// Makes each macro go over a map in the order of its keys: in its own, which is another each time, the
/// same order would be written in other bytes whenever it is sent.
pub(super) fn in_order(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Call(call) => {
            let target = call.target.iter_mut().map(|target| &mut **target);
            target.chain(&mut call.args).for_each(in_order);
        }
        Expr::Comprehension(c) => {
            let over = IdedExpr {
                id: c.iter_range.id,
                expr: Expr::Call(CallExpr {
                    func_name: KEYS.to_owned(),
                    target: None,
                    args: vec![std::mem::take(&mut c.iter_range)],
                }),
            };
            c.iter_range = over;
        }
        Expr::List(list) => list.elements.iter_mut().for_each(in_order),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                in_order_within(&mut entry.expr);
            }
        }
        Expr::Struct(made) => {
            for entry in &mut made.entries {
                in_order_within(&mut entry.expr);
            }
        }
        Expr::Select(select) => in_order(&mut select.operand),
        Expr::Ident(_) | Expr::Unspecified | Expr::Literal(_) => {}
    }
}

fn in_order_within(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => in_order(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            in_order(&mut entry.key);
            in_order(&mut entry.value);
        }
    }
}
