//! One expression of a dialect: compiled once, its names checked, its cost bounded. What goes wrong is
//! said without any value, as a value may be a secret.

use std::sync::{Arc, OnceLock};

use cel::{Context, Env, ExecutionError, Value as Cel, common::ast::IdedExpr};
use serde_json::Value;

use super::{
    map_order::{KEYS, in_order, keys},
    value::{Names, VALUES, given},
    walk::{DEPTH, TOO_DEEP, Walk, brackets},
};

/// What a parser needs of stack, whatever it is given, in bytes: it calls itself for what is nested,
/// and finds out late that there is too much.
const STACK: usize = 64 * 1024 * 1024;

/// A compiled expression, and where in the connection it stands.
pub(super) struct Expression {
    at: String,
    tree: IdedExpr,
    /// The names it uses of those it may.
    names: Vec<&'static str>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.at).finish()
    }
}

/// Why an expression has no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fails {
    /// It looks for a key that is not there.
    Missing(String),
    /// Anything else.
    Wrong(String),
}

impl Fails {
    /// What to tell, whatever it is.
    pub(super) fn told(self) -> String {
        match self {
            Self::Missing(what) | Self::Wrong(what) => what,
        }
    }
}

fn environment() -> Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    Arc::clone(ENVIRONMENT.get_or_init(|| Arc::new(Env::stdlib())))
}

impl Expression {
    /// Compiles an expression that may use these names; `at` is where it stands, for messages.
    pub(super) fn new(at: &str, source: &str, names: &[&'static str]) -> Result<Self, String> {
        if brackets(source) > DEPTH {
            return Err(format!("{at}: {TOO_DEEP}"));
        }
        let thread = std::thread::Builder::new().stack_size(STACK);
        std::thread::scope(|scope| {
            let compiled = thread.spawn_scoped(scope, || Self::compile(at, source, names));
            compiled
                .ok()
                .and_then(|thread| thread.join().ok())
                .unwrap_or_else(|| Err(format!("{at} cannot be compiled")))
        })
    }

    fn compile(at: &str, source: &str, names: &[&'static str]) -> Result<Self, String> {
        let program = environment().compile(source).map_err(|errors| {
            let first = errors.errors.first();
            first.map_or_else(
                || format!("{at} is no expression"),
                |e| {
                    let (line, column) = e.pos;
                    let said = e.msg.lines().next().unwrap_or_default();
                    format!("{at}, line {line}, column {column}: {said}")
                },
            )
        })?;
        let info = program.source_info();
        let place = |id: Option<u64>, name: &str| match id.and_then(|id| info.offset_for(id)) {
            Some((start, _)) => format!("{at}, {}", place(source, start, name)),
            None => at.to_owned(),
        };
        let mut walk = Walk::default();
        walk.over(program.expression(), false, 0)
            .map_err(|(id, why)| format!("{}: {why}", place(Some(id), "")))?;
        let references = program.references();
        let mut used = references.variables();
        used.sort_unstable();
        for name in used {
            let known = names.contains(&name) || walk.own.contains(name) || is_type(name);
            if !known {
                let id = walk.idents.get(name).copied();
                return Err(format!(
                    "{} uses {name}, which is not known there: it can use {}",
                    place(id, name),
                    names.join(", ")
                ));
            }
        }
        let mut functions = references.functions();
        functions.sort_unstable();
        if let Some(unknown) = functions.into_iter().find(|name| !is_function(name)) {
            let id = walk.calls.get(unknown).copied();
            return Err(format!(
                "{} uses the function {unknown}, which CEL does not have",
                place(id, unknown)
            ));
        }
        let mut names = names.to_vec();
        names.retain(|name| references.has_variable(name));
        let mut tree = program.expression().clone();
        in_order(&mut tree);
        Ok(Self {
            at: at.to_owned(),
            tree,
            names,
        })
    }

    /// Whether it uses a name.
    pub(super) fn uses(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// Its value as JSON.
    pub(super) fn value(&self, names: &Names) -> Result<Value, Fails> {
        let mut context = Context::with_env(environment());
        let mut left = VALUES;
        for name in &self.names {
            let value = names.take(name, &mut left).ok_or_else(|| {
                Fails::Wrong(format!("{}: {name} is too large to look at", self.at))
            })?;
            context.add_variable_from_value(*name, value);
        }
        // The name is free: `compile` takes no function that CEL does not have.
        if context.add_function(KEYS, keys).is_err() {
            return Err(Fails::Wrong(format!("{} has no value here", self.at)));
        }
        let value = Cel::resolve(&self.tree, &context).map_err(|e| self.failed(&e))?;
        given(&value).ok_or_else(|| {
            Fails::Wrong(format!(
                "{} gives what cannot stand in JSON, or too much",
                self.at
            ))
        })
    }

    /// Where it stands.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the crate's list is open, and what it says elsewhere shows values"
    )]
    fn failed(&self, error: &ExecutionError) -> Fails {
        let at = &self.at;
        match error {
            ExecutionError::NoSuchKey(key) => Fails::Missing(format!("{at}: there is no {key}")),
            ExecutionError::NoSuchOverload(overload) => Fails::Wrong(format!("{at}: {overload}")),
            ExecutionError::UndeclaredReference(name) => {
                Fails::Wrong(format!("{at}: {name} is not known"))
            }
            ExecutionError::IndexOutOfBounds(_) => {
                Fails::Missing(format!("{at}: the list has no such place"))
            }
            ExecutionError::FunctionError { function, .. } => {
                Fails::Wrong(format!("{at}: {function} cannot be done with this value"))
            }
            _ => Fails::Wrong(format!("{at} has no value here")),
        }
    }
}

/// Where a byte of the source stands; for a call, whose byte is its bracket, where its name does.
fn place(source: &str, byte: u32, name: &str) -> String {
    let before = source.get(..byte as usize).unwrap_or(source);
    let before = before.strip_suffix(name).unwrap_or(before);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default();
    format!("line {line}, column {}", column.chars().count() + 1)
}

fn is_type(name: &str) -> bool {
    matches!(
        name,
        "int"
            | "uint"
            | "double"
            | "bool"
            | "string"
            | "bytes"
            | "list"
            | "map"
            | "type"
            | "null_type"
            | "optional"
    )
}

/// Whether CEL has the function: what is there cannot be declared again.
fn is_function(name: &str) -> bool {
    let operator = !name.chars().next().is_some_and(char::is_alphabetic);
    operator || {
        let mut probe = Context::with_env(environment());
        probe.add_function(name, |n: i64| n).is_err()
            || probe
                .add_function(&format!("optional.{name}"), |n: i64| n)
                .is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(source: &str, answer: &Value) -> Result<Value, Fails> {
        Expression::new("here", source, &["answer"])
            .unwrap()
            .value(&Names::new([("answer", answer)]))
    }

    #[test]
    fn it_gives_json() {
        let answer = json!({"a": {"n": 10, "f": 1.5, "list": [1, 2]}, "s": "x"});
        for (source, expected) in [
            ("answer.a.n", json!(10)),
            ("string(answer.a.n)", json!("10")),
            (
                "{'limit': string(answer.a.n), 'b': answer.s == 'x'}",
                json!({"limit": "10", "b": true}),
            ),
            ("has(answer.no) ? answer.no : null", json!(null)),
            ("answer.?no.orValue('d')", json!("d")),
            ("answer.?s", json!("x")),
            ("answer.?no", json!(null)),
            ("answer.a.list.map(x, x * 2)", json!([2, 4])),
            ("answer.a.list.filter(x, x > 1)", json!([2])),
            ("answer.a.f + 1.0", json!(2.5)),
            ("'a' in answer", json!(true)),
        ] {
            assert_eq!(value(source, &answer).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn a_map_is_gone_over_in_the_order_of_its_keys() {
        let names: Vec<String> = (0..40).map(|n| format!("n{n:02}")).collect();
        let all: Vec<Value> = names.iter().map(|n| json!([n, 1])).collect();
        let map: serde_json::Map<_, _> = names.iter().map(|n| (n.clone(), json!(1))).collect();
        let given = value(
            "{'all': answer.map(k, [k, answer[k]]), 'some': answer.filter(k, k > 'n36')}",
            &json!(map),
        );
        assert_eq!(
            given.unwrap(),
            json!({"all": all, "some": ["n37", "n38", "n39"]})
        );
    }

    #[test]
    fn a_missing_key_is_told_from_what_is_wrong() {
        let secret = json!({"s": "hush-hush", "n": 1});
        let missing = value("answer.tenantId", &secret);
        assert_eq!(
            missing,
            Err(Fails::Missing("here: there is no tenantId".into()))
        );
        for wrong in [
            "answer.s + answer.n",
            "int(answer.s)",
            "answer.s > answer.n",
            "answer.n / 0",
        ] {
            let Err(Fails::Wrong(said)) = value(wrong, &secret) else {
                panic!("{wrong}");
            };
            assert!(said.starts_with("here") && !said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_text_is_said_with_its_place() {
        let said = |source: &str| Expression::new("dialect.get.path", source, &["id"]).unwrap_err();
        assert!(
            said("id +").starts_with("dialect.get.path, line 1, column "),
            "{}",
            said("id +")
        );
        for (source, expected) in [
            (
                "tennant.id",
                "line 1, column 1 uses tennant, which is not known there: it can use id",
            ),
            (
                "id == 'é'\n  ? 'ü' + tennant.id : id",
                "line 2, column 11 uses tennant, which is not known there: it can use id",
            ),
            (
                "id.lowercase()",
                "line 1, column 4 uses the function lowercase, which CEL does not have",
            ),
            (
                "'é' +\n lower(id)",
                "line 2, column 2 uses the function lower, which CEL does not have",
            ),
            (
                "[id].map(x,\n  x + x)",
                "line 2, column 5: + cannot stand inside map, filter, all or exists",
            ),
            (
                "[id].map(x, [x].map(y, y))",
                "line 1, column 20: map, filter, all and exists cannot stand inside one another",
            ),
        ] {
            assert_eq!(said(source), format!("dialect.get.path, {expected}"));
        }
    }

    #[test]
    fn no_expression_costs_more_than_a_little() {
        let refused = |source: &str| Expression::new("here", source, &["answer"]).unwrap_err();
        refused("answer.map(x, answer.map(y, y))");
        refused("[[answer].map(x, x)].map(y, y)");
        refused("answer.map(x, x + x)");
        refused(&vec!["answer"; 100].join(" + "));
        refused(&format!("{}1{}", "(".repeat(2000), ")".repeat(2000)));
        refused(&format!("{}1{}", "[".repeat(2000), "]".repeat(2000)));
        refused(&format!("answer{}", ".a".repeat(4000)));
        refused(&"answer ? answer : ".repeat(400));
        refused(&format!("{}answer", "answer ? answer : ".repeat(400)));
        let _ = Expression::new("here", &format!("{}true", "!".repeat(8000)), &[]);
        let _ = Expression::new("here", &format!("{}1", "-".repeat(8000)), &[]);
        let many = Value::Array(vec![json!(1); VALUES + 1]);
        assert!(value("answer.size()", &many).is_err());
        let long = json!(vec!["x".repeat(1000); 300]);
        assert!(value("answer", &long).is_err());
    }
}
