//! Vendors that know their callers by a certificate.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use crate::security::assert_nowhere;
use e2e::{
    SOON, Vendor, World,
    objects::{self, message, standing},
    vendor::TOKEN,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::json;
use std::{fs, path::PathBuf};

const IN_USE: &str = "fulfillment-operator.io/in-use";

/// An authority for clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn client(&self) -> Pair {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "reseller-42");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    fn secret(&self, name: &str) -> String {
        secret(name, &self.certificate, &self.key)
    }

    fn pem(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }
}

fn secret(name: &str, certificate: &str, key: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "type": "kubernetes.io/tls", "stringData": {"tls.crt": certificate, "tls.key": key},
    })
    .to_string()
}

/// A vendor that asks for a certificate of an authority, and can be told to ask for another's.
struct Asking<'w> {
    world: &'w World,
    /// The authority's certificate.
    clients: PathBuf,
    vendor: Vendor,
}

impl<'w> Asking<'w> {
    fn start(world: &'w World, authority: &Authority) -> Self {
        let plane = world.control_plane();
        let clients = format!("{}.clients.crt", world.namespace());
        let clients = plane.dir().join(clients);
        fs::write(&clients, authority.0.pem()).unwrap();
        let args = [
            format!("--tls-client-ca={}", clients.display()),
            format!("--token={TOKEN}"),
        ];
        let vendor = Vendor::start_tls(plane, &args, Some(&authority.client().pem()));
        Self {
            world,
            clients,
            vendor,
        }
    }

    /// The same vendor with the same tenants.
    fn ask_for(&self, authority: &Authority) {
        fs::write(&self.clients, authority.0.pem()).unwrap();
        let plane = self.world.control_plane();
        self.vendor.take(plane, &authority.client().pem());
        self.vendor.restart();
    }
}

/// A connection to it that shows the certificate in that Secret, if any.
fn connection(asking: &Asking<'_>, name: &str, certificate: Option<&str>) -> String {
    let ca = asking.world.control_plane().ca_pem();
    let reference = certificate.map(|name| json!({"name": name}));
    let tls = json!({"tls": {"caBundle": ca, "clientCertificateRef": reference}});
    objects::connection_named(name, asking.vendor.url(), tls)
}

fn subscription(name: &str, connection: &str) -> String {
    objects::subscription(name, json!({"connectionRef": {"name": connection}}))
}

#[test]
fn a_certificate_that_is_asked_for_is_shown_and_without_it_nothing_is_bought() {
    let world = World::builder().operator_arg("--log-level=trace").start();
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let asking = Asking::start(&world, &authority);
    let (right, wrong) = (authority.client(), other.client());
    world.apply(&objects::all(&[
        right.secret("right"),
        wrong.secret("wrong"),
        connection(&asking, "right", Some("right")),
        connection(&asking, "wrong", Some("wrong")),
        connection(&asking, "none", None),
        subscription("right", "right"),
        subscription("wrong", "wrong"),
        subscription("none", "none"),
    ]));
    world.ready("right");
    for (name, says) in [
        ("none", "tls.clientCertificateRef"),
        ("wrong", "refuses the client certificate"),
    ] {
        let what = format!("{name} is refused in words");
        world.until(&what, "Subscription", name, |object| {
            standing(object, "Ready") == "False Unauthorized"
                && message(object, "Ready").contains(says)
        });
        world.until(&what, "VendorConnection", name, |object| {
            standing(object, "Ready").starts_with("False ")
        });
    }
    assert_eq!(
        (asking.vendor.count("create"), asking.vendor.count("live")),
        (1, 1)
    );
    // Both Secrets of the connection are held as long as it is in use.
    for name in ["acme", "right"] {
        let object = world.get("Secret", name);
        assert_eq!(object["metadata"]["finalizers"], json!([IN_USE]), "{name}");
    }

    // The right one in the place of the wrong one is used at once.
    world.apply(&right.secret("wrong"));
    world.ready("wrong");
    world.apply(&connection(&asking, "none", Some("right")));
    world.ready("none");
    assert_eq!(asking.vendor.count("live"), 3);

    for pair in [&right, &wrong] {
        let lines = pair.key.lines().filter(|line| !line.starts_with('-'));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        assert_nowhere(&world, &lines, "a private key");
    }
    for name in ["right", "wrong", "none"] {
        world.unsubscribe(name);
    }
    assert_eq!(asking.vendor.count("live"), 0);
    for name in ["acme", "right", "wrong"] {
        world.until("it is free", "Secret", name, |object| {
            object["metadata"]["finalizers"].is_null()
        });
    }
}

#[test]
fn a_certificate_is_replaced_while_everything_runs() {
    let world = World::start();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let asking = Asking::start(&world, &old);
    let first = old.client();
    world.apply(&objects::all(&[
        first.secret("pair"),
        connection(&asking, "asking", Some("pair")),
        subscription("mail", "asking"),
    ]));
    world.ready("mail");
    let process = world.operator.pid();

    // The vendor knows the old authority no more.
    asking.ask_for(&new);
    let seats = |seats: u32| {
        let spec = json!({"connectionRef": {"name": "asking"}, "limits": {"seats": seats}});
        world.subscribe("mail", spec);
    };
    seats(51);
    world.stands("mail", "Ready", "False Unauthorized");
    let second = new.client();
    world.apply(&second.secret("pair"));
    world.ready("mail");

    // What cannot be used is named, and what runs goes on.
    for (certificate, key, says) in [
        (
            "no certificate",
            second.key.as_str(),
            "key tls.crt of Secret pair",
        ),
        (&second.certificate, "no key", "key tls.key of Secret pair"),
        (&second.certificate, &first.key, "is not the private key"),
        (&first.certificate, &second.key, "is not the private key"),
        (&second.certificate, "", "key tls.key of Secret pair"),
    ] {
        world.apply(&secret("pair", certificate, key));
        world.until(says, "VendorConnection", "asking", |object| {
            let said = message(object, "Ready");
            standing(object, "Ready") == "False DependencyNotReady"
                && said.contains(says)
                && said.contains("Secret pair")
                && !said.contains(key.lines().nth(1).unwrap_or("PRIVATE"))
        });
    }
    seats(52);
    world.ready("mail");
    world.apply(&new.client().secret("pair"));
    world.until(
        "the connection is fine",
        "VendorConnection",
        "asking",
        |object| standing(object, "Ready").starts_with("True "),
    );
    seats(53);
    world.ready("mail");

    // One that the vendor does not know.
    world.apply(&first.secret("pair"));
    world.refusal("mail", "asking");
    seats(54);
    world.ready("mail");
    assert_eq!(asking.vendor.tenant()["limits"]["seats"], 54);
    assert_eq!(world.operator.pid(), process);
    assert_eq!(
        (asking.vendor.count("create"), asking.vendor.count("live")),
        (1, 1)
    );
}

#[test]
fn a_certificate_may_be_all_that_tls_says() {
    let world = World::start();
    let pair = Authority::new("any").client();
    let tls = json!({"tls": {"clientCertificateRef": {"name": "pair"}}});
    world.apply(&objects::all(&[
        pair.secret("pair"),
        objects::connection("https://tenants.acme.example", tls),
    ]));
    world.until("it can be used", "VendorConnection", "acme", |acme| {
        objects::is_observed(acme) && standing(acme, "Ready") == "True Configured"
    });
    // Without a Secret it waits for one.
    world.kubectl(&["delete", "secret", "pair"]);
    world.eventually("the connection names it", SOON, || {
        let acme = world.get("VendorConnection", "acme");
        let said = message(&acme, "Ready");
        if said.contains("Secret pair does not exist") {
            Ok(())
        } else {
            Err(said)
        }
    });
}
