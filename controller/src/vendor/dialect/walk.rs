//! A look over an expression before it is used: what it costs at most, and which names it uses.

use std::collections::{HashMap, HashSet};

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};

/// The most times an expression can join things with +.
const JOINS: usize = 64;
/// How deep an expression can be nested.
pub(super) const DEPTH: usize = 40;
/// What is said of one that is deeper.
pub(super) const TOO_DEEP: &str = "it is nested too deep";

/// A node that goes too far, and why.
pub(super) type TooMuch = (u64, String);

/// A look over a whole expression: the names it declares itself, where it uses which, and what it
/// costs at most.
#[derive(Default)]
pub(super) struct Walk {
    /// The names it declares.
    pub own: HashSet<String>,
    /// The first node that is this name.
    pub idents: HashMap<String, u64>,
    /// The first node that calls this function.
    pub calls: HashMap<String, u64>,
    joins: usize,
}

impl Walk {
    pub(super) fn over(
        &mut self,
        expression: &IdedExpr,
        inside: bool,
        depth: usize,
    ) -> Result<(), TooMuch> {
        let id = expression.id;
        if depth > DEPTH {
            return Err((id, TOO_DEEP.into()));
        }
        let depth = depth + 1;
        match &expression.expr {
            Expr::Call(call) => {
                self.calls.entry(call.func_name.clone()).or_insert(id);
                if call.func_name == "_+_" {
                    self.joins += 1;
                    if inside && !is_macro_step(call) {
                        let why = "+ cannot stand inside map, filter, all or exists";
                        return Err((id, why.into()));
                    }
                    if self.joins > JOINS {
                        return Err((id, format!("+ can be used {JOINS} times at most")));
                    }
                }
                for part in call.target.iter().map(|t| &**t).chain(&call.args) {
                    self.over(part, inside, depth)?;
                }
            }
            Expr::Comprehension(c) => {
                if inside {
                    let why = "map, filter, all and exists cannot stand inside one another";
                    return Err((id, why.into()));
                }
                self.own.extend([c.iter_var.clone(), c.accu_var.clone()]);
                self.own.extend(c.iter_var2.clone());
                for part in [
                    &c.iter_range,
                    &c.accu_init,
                    &c.loop_cond,
                    &c.loop_step,
                    &c.result,
                ] {
                    self.over(part, true, depth)?;
                }
            }
            Expr::List(list) => {
                for part in &list.elements {
                    self.over(part, inside, depth)?;
                }
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    self.entry(&entry.expr, inside, depth)?;
                }
            }
            Expr::Struct(made) => {
                for entry in &made.entries {
                    self.entry(&entry.expr, inside, depth)?;
                }
            }
            Expr::Select(select) => self.over(&select.operand, inside, depth)?,
            Expr::Ident(name) => {
                self.idents.entry(name.clone()).or_insert(id);
            }
            Expr::Unspecified | Expr::Literal(_) => {}
        }
        Ok(())
    }

    fn entry(&mut self, entry: &EntryExpr, inside: bool, depth: usize) -> Result<(), TooMuch> {
        match entry {
            EntryExpr::StructField(field) => self.over(&field.value, inside, depth),
            EntryExpr::MapEntry(entry) => {
                self.over(&entry.key, inside, depth)?;
                self.over(&entry.value, inside, depth)
            }
        }
    }
}

/// The macros collect by adding a list of one to what they have.
fn is_macro_step(call: &CallExpr) -> bool {
    match call.args.first().map(|first| &first.expr) {
        Some(Expr::Ident(name)) => name.starts_with('@'),
        _ => false,
    }
}

/// How deep the brackets of a text are nested at most, those in quotes included.
pub(super) fn brackets(source: &str) -> usize {
    let (mut depth, mut most) = (0usize, 0);
    for c in source.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}
