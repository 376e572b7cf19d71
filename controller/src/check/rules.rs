//! The rules of a published schema that are written in CEL, as an API server asks them of an object
//! that is new. Rules about a change ask nothing of one.

use std::sync::Arc;

use cel::{Context, Env, ExecutionError, Value as Cel};
use fulfillment_crds::Duration;
use serde_json::Value;
use url::Url;

use crate::vendor::dialect::to_cel;

/// What CEL does not bring along, and Kubernetes does; a duration is its nanoseconds here.
const DURATION: &str = "duration";
const IS_URL: &str = "isURL";

/// The first rule of a schema that a value breaks: where, and in the rule's own words.
pub(super) fn broken(at: &str, value: &Value, schema: &Value) -> Option<String> {
    let rules = schema.get("x-kubernetes-validations")?.as_array()?;
    rules.iter().find_map(|rule| {
        let text = |key: &str| rule.get(key).and_then(Value::as_str);
        let source = text("rule").filter(|source| holds(source, value) == Some(false))?;
        let field = text("fieldPath").unwrap_or_default();
        Some(format!(
            "{at}{field}: {}",
            text("message").unwrap_or(source)
        ))
    })
}

/// Whether a text is as a pattern has it.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let both = Value::Array(vec![pattern.into(), text.into()]);
    holds("self[1].matches(self[0])", &both) != Some(false)
}

/// Whether a rule holds for a value. `None` where that is not known: it speaks of what was before, or
/// of more than is looked at.
fn holds(rule: &str, value: &Value) -> Option<bool> {
    let environment = Arc::new(Env::stdlib());
    let program = environment.compile(rule).ok()?;
    if program.references().has_variable("oldSelf") {
        return None;
    }
    let mut context = Context::with_env(environment);
    context.add_variable_from_value("self", to_cel(value)?);
    context.add_function(DURATION, nanoseconds).ok()?;
    context.add_function(IS_URL, is_url).ok()?;
    match program.execute(&context) {
        Ok(Cel::Bool(holds)) => Some(holds),
        Ok(_) => None,
        // A rule that has no value is broken for the API server, too.
        Err(_) => Some(false),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so CEL hands it over")]
fn nanoseconds(text: Arc<String>) -> Result<i64, ExecutionError> {
    let wrong = |why: &str| ExecutionError::function_error(DURATION, why);
    let duration: Duration = text.parse().map_err(|_| wrong("this is no duration"))?;
    let length = std::time::Duration::from(duration).as_nanos();
    let length = i64::try_from(length).map_err(|_| wrong("it is too long"))?;
    Ok(if duration.is_negative() {
        -length
    } else {
        length
    })
}

#[expect(clippy::needless_pass_by_value, reason = "so CEL hands it over")]
fn is_url(text: Arc<String>) -> bool {
    Url::parse(&text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulfillment_crds::{
        cluster_vendor_connection_crd, subscription_crd, tier_configuration_crd,
        vendor_connection_crd,
    };
    use serde_json::json;

    #[test]
    fn every_rule_of_ours_can_be_asked() {
        fn all<'s>(schema: &'s Value, found: &mut Vec<&'s str>) {
            match schema {
                Value::Object(map) => {
                    let rules = map
                        .get("x-kubernetes-validations")
                        .and_then(Value::as_array);
                    let rules = rules.into_iter().flatten();
                    found.extend(rules.filter_map(|rule| rule["rule"].as_str()));
                    map.values().for_each(|schema| all(schema, found));
                }
                Value::Array(list) => list.iter().for_each(|schema| all(schema, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let crds = [
            vendor_connection_crd(),
            cluster_vendor_connection_crd(),
            subscription_crd(),
            tier_configuration_crd(),
        ];
        let crds = serde_json::to_value(crds).unwrap();
        let mut rules = Vec::new();
        all(&crds, &mut rules);
        assert!(rules.len() > 40, "{}", rules.len());
        for rule in rules {
            let program = Env::stdlib().compile(rule).unwrap();
            let references = program.references();
            let names = references.variables();
            if names.contains(&"oldSelf") {
                continue;
            }
            let known = |name: &&str| ["self", "int", "name", "x", "@result"].contains(name);
            assert!(names.iter().all(known), "{rule}: {names:?}");
            let mut context = Context::default();
            for function in references.functions() {
                let own = [DURATION, IS_URL].contains(&function);
                let operator = !function.starts_with(char::is_alphabetic);
                let is_there = context.add_function(function, |n: i64| n).is_err();
                assert!(own || operator || is_there, "{rule} uses {function}");
            }
        }
    }

    #[test]
    fn a_rule_without_a_value_is_broken_and_one_about_a_change_is_not_asked() {
        assert_eq!(holds("self.size() < 2", &json!(["a"])), Some(true));
        assert_eq!(holds("self.missing == 1", &json!({})), Some(false));
        assert_eq!(holds("self == oldSelf", &json!(1)), None);
        let day = "duration(self) <= duration('24h') && duration(self) > duration('0s')";
        for (text, expected) in [
            ("1h30m", true),
            ("25h", false),
            ("-1s", false),
            ("soon", false),
        ] {
            assert_eq!(holds(day, &json!(text)), Some(expected), "{text}");
        }
        assert!(matches("^[a-z]+$", "abc") && !matches("^[a-z]+$", "aBc"));
    }
}
