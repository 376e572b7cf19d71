//! Where a product's limits and parameters stand in bodies, where that is not the canonical place.

use std::{borrow::Cow, collections::BTreeMap};

use fulfillment_crds::Product;
use serde_json::{Map, Value};

const LIMITS: &str = "limits";
const PARAMETERS: &str = "parameters";
const SENSITIVE: &str = "sensitive";
/// What a body says of the tenant itself: no limit and no parameter can stand there.
const RESERVED: [&str; 10] = [
    "callbackUrl",
    "externalId",
    "id",
    "operation",
    "product",
    "request",
    SENSITIVE,
    "status",
    "tier",
    "tiers",
];

/// The places that connections give, by product.
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeMap<String, Vec<Place>>);

/// What of one product stands elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'p>(&'p [Place]);

/// What stands elsewhere than `group.name`.
#[derive(Debug)]
struct Place {
    group: &'static str,
    name: String,
    keys: Vec<String>,
}

/// A limit or parameter of a product as the connection defines it.
struct Defined<'p> {
    group: &'static str,
    name: &'p str,
    path: Option<&'p str>,
    keys: Vec<&'p str>,
}

impl Paths {
    /// Takes the places from the definitions of products.
    ///
    /// # Errors
    ///
    /// Names the field of the connection whose path cannot be used.
    pub(super) fn new(products: &[Product]) -> Result<Self, String> {
        let mut paths = Self::default();
        for product in products {
            let all = defined(product);
            for (nth, one) in all.iter().enumerate() {
                let Some(path) = one.path else { continue };
                check(product, one, &all)
                    .map_err(|why| format!("{}.path: {path} {why}", at(product, one)))?;
                let others = all.iter().enumerate().filter(|(other, _)| *other != nth);
                for (_, other) in others {
                    if one.keys.starts_with(&other.keys) || other.keys.starts_with(&one.keys) {
                        return Err(format!(
                            "{}.path: {path} is also where {} stands: give each a place of its own",
                            at(product, one),
                            at(product, other)
                        ));
                    }
                }
                let places = paths.0.entry(product.name.clone()).or_default();
                places.push(Place {
                    group: one.group,
                    name: one.name.to_owned(),
                    keys: one.keys.iter().map(|&key| key.to_owned()).collect(),
                });
            }
        }
        Ok(paths)
    }

    /// Those of one product.
    pub(super) fn of(&self, product: &str) -> Places<'_> {
        Places(self.0.get(product).map_or(&[], Vec::as_slice))
    }
}

impl Places<'_> {
    /// Whether all stands where it does canonically.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Puts what a canonical body carries where the vendor has it.
    pub(super) fn write(self, body: &mut Map<String, Value>) {
        // All are taken before the first is put: one may stand where another stood.
        let taken: Vec<_> = self
            .0
            .iter()
            .filter_map(|place| Some((place, take(body, &[place.group, &place.name])?)))
            .collect();
        for group in [LIMITS, PARAMETERS] {
            let moved = taken.iter().any(|(place, _)| place.group == group);
            let left = body.get(group).and_then(Value::as_object);
            if moved && left.is_some_and(Map::is_empty) {
                body.remove(group);
            }
        }
        for (place, value) in taken {
            put(body, &place.keys(), value);
        }
    }

    /// A tenant whose limits and parameters stand where they do canonically. What stood at a path is
    /// there no more: it may be a secret, and only by its name is it known as one.
    pub(super) fn read(self, tenant: &Value) -> Cow<'_, Value> {
        let Value::Object(body) = tenant else {
            return Cow::Borrowed(tenant);
        };
        if self.is_empty() {
            return Cow::Borrowed(tenant);
        }
        let mut body = body.clone();
        let mut taken = Vec::new();
        for place in self.0 {
            let value = take(&mut body, &place.keys()).filter(|value| !value.is_null());
            taken.extend(value.map(|value| (place, value)));
        }
        // What has a path is read nowhere else.
        for place in self.0 {
            take(&mut body, &[place.group, &place.name]);
        }
        for (place, value) in taken {
            put(&mut body, &[place.group, &place.name], value);
        }
        if let Some(secret) = body.get_mut(SENSITIVE) {
            self.know_secrets(secret);
        }
        Cow::Owned(Value::Object(body))
    }

    /// Adds the names of parameters that the vendor calls sensitive by a name of its own, which is
    /// the end of their path or all of it.
    pub(super) fn know_secrets(self, sensitive: &mut Value) {
        let Value::Array(theirs) = sensitive else {
            return;
        };
        let ours: Vec<Value> = self
            .0
            .iter()
            .filter(|place| place.group == PARAMETERS)
            .filter(|place| {
                let (path, last) = (place.keys.join("."), place.keys.last());
                let mut theirs = theirs.iter().filter_map(Value::as_str);
                theirs.any(|name| name == path || Some(name) == last.map(String::as_str))
            })
            .map(|place| place.name.clone().into())
            .collect();
        theirs.extend(ours);
    }
}

impl Place {
    fn keys(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).collect()
    }
}

fn defined(product: &Product) -> Vec<Defined<'_>> {
    let limits = product.limits.iter();
    let limits = limits.map(|limit| (LIMITS, &limit.name, &limit.path));
    let parameters = product.parameters.iter();
    let parameters = parameters.map(|one| (PARAMETERS, &one.name, &one.path));
    let all = limits.chain(parameters);
    all.map(|(group, name, path)| Defined {
        group,
        name,
        path: path.as_deref(),
        keys: match path {
            Some(path) => path.split('.').collect(),
            None => vec![group, name],
        },
    })
    .collect()
}

/// Where a definition stands in the connection.
fn at(product: &Product, one: &Defined<'_>) -> String {
    format!("products[{}].{}[{}]", product.name, one.group, one.name)
}

/// Why a path cannot be used, whatever the others are.
fn check(product: &Product, one: &Defined<'_>, all: &[Defined<'_>]) -> Result<(), String> {
    let root = one.keys.first().copied().unwrap_or_default();
    if one.keys.contains(&"") {
        return Err("has an empty part: write names with one dot between them".into());
    }
    if RESERVED.contains(&root) {
        return Err(format!(
            "is not free: {root} is what the body says of the tenant itself; leave path out for {}.{}",
            one.group, one.name
        ));
    }
    if root != LIMITS && root != PARAMETERS {
        return Ok(());
    }
    if one.keys.len() == 1 {
        return Err(format!("is not free: say which of the {root}"));
    }
    // Where a group has no definitions, a Subscription may give anything there.
    if !all.iter().any(|other| other.group == root) {
        return Err(format!(
            "may be taken, as products[{}].{root} does not say what there is: list them",
            product.name
        ));
    }
    Ok(())
}

fn take(body: &mut Map<String, Value>, keys: &[&str]) -> Option<Value> {
    let (last, parents) = keys.split_last()?;
    let parent = parents.iter().try_fold(body, |body, key| {
        body.get_mut(*key).and_then(Value::as_object_mut)
    })?;
    parent.remove(*last)
}

fn put(body: &mut Map<String, Value>, keys: &[&str], value: Value) {
    let Some((last, parents)) = keys.split_last() else {
        return;
    };
    let mut parent = body;
    for key in parents {
        let next = parent.entry(*key).or_insert(Value::Null);
        if !next.is_object() {
            *next = Value::Object(Map::new());
        }
        let Value::Object(next) = next else { return };
        parent = next;
    }
    parent.insert((*last).to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(product: Value) -> Result<Paths, String> {
        let mut whole = json!({"name": "mail-pro"});
        let (Value::Object(whole_map), Value::Object(product)) = (&mut whole, product) else {
            panic!("objects");
        };
        whole_map.extend(product);
        Paths::new(&[serde_json::from_value(whole).unwrap()])
    }

    #[test]
    fn what_is_written_at_a_path_is_read_there() {
        let paths = paths(json!({
            "limits": [
                {"name": "seats", "path": "licences.limit"},
                {"name": "storage", "path": "licences.extra.storage"},
                {"name": "boxes"},
            ],
            "parameters": [{"name": "first", "path": "account.first-name"}],
        }))
        .unwrap();
        let canonical = json!({
            "externalId": "e-1",
            "limits": {"seats": 50, "storage": "1.5", "boxes": 2},
            "parameters": {"first": "Ada"},
        });
        let mut body = canonical.as_object().unwrap().clone();
        paths.of("mail-pro").write(&mut body);
        let theirs = json!({
            "externalId": "e-1",
            "limits": {"boxes": 2},
            "licences": {"limit": 50, "extra": {"storage": "1.5"}},
            "account": {"first-name": "Ada"},
        });
        assert_eq!(Value::Object(body), theirs);
        let read = paths.of("mail-pro").read(&theirs).into_owned();
        assert_eq!(read["limits"], canonical["limits"]);
        assert_eq!(read["parameters"], canonical["parameters"]);
        // Another product has no paths, and nothing that is no object has any.
        assert_eq!(paths.of("else").read(&theirs).into_owned(), theirs);
        assert_eq!(
            paths.of("mail-pro").read(&json!([])).into_owned(),
            json!([])
        );
        let mut other = canonical.as_object().unwrap().clone();
        paths.of("else").write(&mut other);
        assert_eq!(Value::Object(other), canonical);
    }

    #[test]
    fn only_the_path_is_read_and_what_stood_there_stands_nowhere_else() {
        let paths = paths(json!({
            "limits": [{"name": "a", "path": "limits.b"}, {"name": "b", "path": "limits.a"}],
            "parameters": [{"name": "password", "path": "parameters.pw", "sensitive": true}],
        }))
        .unwrap();
        let theirs =
            json!({"limits": {"a": 1, "b": 2}, "parameters": {"pw": "s", "password": "old"}});
        let read = paths.of("mail-pro").read(&theirs).into_owned();
        assert_eq!(
            read,
            json!({"limits": {"a": 2, "b": 1}, "parameters": {"password": "s"}})
        );
        // What the vendor calls a secret by its own name is one by ours.
        for theirs in ["pw", "parameters.pw"] {
            let told = json!({"parameters": {"pw": "s"}, "sensitive": [theirs, "else"]});
            let read = paths.of("mail-pro").read(&told).into_owned();
            assert_eq!(read["sensitive"], json!([theirs, "else", "password"]));
        }
        // A vendor that does not say keeps not saying.
        for silent in [
            json!({"id": 1}),
            json!({"limits": null}),
            json!({"limits": {"a": null}}),
        ] {
            let read = paths.of("mail-pro").read(&silent).into_owned();
            assert!(
                read["limits"].as_object().is_none_or(Map::is_empty),
                "{read}"
            );
            assert_eq!(read.get("parameters"), None);
        }
    }

    #[test]
    fn a_path_that_cannot_be_used_is_named() {
        let seats = |path: &str| json!({"limits": [{"name": "seats", "path": path}]});
        for (product, said) in [
            (
                json!({"limits": [{"name": "seats", "path": "x.y"}, {"name": "boxes", "path": "x.y"}]}),
                "products[mail-pro].limits[seats].path: x.y is also where products[mail-pro].limits[boxes] stands",
            ),
            (
                json!({"limits": [{"name": "seats", "path": "x"}, {"name": "boxes", "path": "x.y"}]}),
                "products[mail-pro].limits[seats].path: x is also where products[mail-pro].limits[boxes] stands",
            ),
            (
                json!({"limits": [{"name": "seats", "path": "limits.boxes"}, {"name": "boxes"}]}),
                "products[mail-pro].limits[seats].path: limits.boxes is also where products[mail-pro].limits[boxes] stands",
            ),
            (
                json!({"limits": [{"name": "seats"}], "parameters": [{"name": "p", "path": "limits.seats"}]}),
                "products[mail-pro].parameters[p].path: limits.seats is also where products[mail-pro].limits[seats] stands",
            ),
            (
                seats("externalId"),
                "products[mail-pro].limits[seats].path: externalId is not free: externalId is what the body says",
            ),
            (
                seats("status.seats"),
                "products[mail-pro].limits[seats].path: status.seats is not free",
            ),
            (
                seats("limits"),
                "products[mail-pro].limits[seats].path: limits is not free: say which",
            ),
            (
                seats("parameters.seats"),
                "products[mail-pro].limits[seats].path: parameters.seats may be taken, as products[mail-pro].parameters does not say",
            ),
            (
                seats("a..b"),
                "products[mail-pro].limits[seats].path: a..b has an empty part",
            ),
        ] {
            let why = paths(product).unwrap_err();
            assert!(why.starts_with(said), "{why}");
        }
        // Listed, there is no doubt.
        let listed = json!({
            "limits": [{"name": "seats", "path": "parameters.seats"}],
            "parameters": [{"name": "phone"}],
        });
        paths(listed).unwrap();
    }
}
