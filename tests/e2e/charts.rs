//! The charts as helm renders them: least rights, no secret, flags the operator takes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

use control_plane::Assets;
use e2e::{World, vendor::operations};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) fn helm(args: &[&str]) -> Output {
    let helm = Assets::find_or_build().unwrap().helm().unwrap();
    Command::new(helm)
        .current_dir(e2e::binaries::workspace())
        .args(args)
        .output()
        .unwrap()
}

/// The objects that the operator's chart renders.
fn rendered(values: &[&str]) -> Vec<Value> {
    let mut args = vec![
        "template",
        "release",
        "charts/fulfillment-operator",
        "--namespace",
        "fulfillment",
    ];
    args.extend(values);
    let output = helm(&args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_yaml::Deserializer::from_slice(&output.stdout)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

/// Every right in the rendered rules of these kinds, as `verb group/resource`.
fn rights(objects: &[Value], kind: &str) -> BTreeSet<String> {
    let strings = |value: &Value| -> Vec<String> {
        let all = value.as_array().unwrap();
        all.iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in objects
        .iter()
        .filter(|o| {
            let name = o["metadata"]["name"].as_str().unwrap();
            let apart = ["installation-key", "leader-election", "tombstones"];
            o["kind"] == kind && !apart.iter().any(|role| name.ends_with(role))
        })
        .flat_map(|o| o["rules"].as_array().unwrap())
    {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                rights.extend(
                    strings(&rule["verbs"])
                        .iter()
                        .map(|verb| format!("{verb} {group}/{resource}")),
                );
            }
        }
    }
    rights
}

const RIGHTS: &[&str] = &[
    "create /secrets",
    "create events.k8s.io/events",
    "create fulfillment-operator.io/subscriptions",
    "delete fulfillment-operator.io/subscriptions",
    "get /configmaps",
    "get /namespaces",
    "get /secrets",
    "get fulfillment-operator.io/subscriptions",
    "get fulfillment-operator.io/tierconfigurations",
    "get fulfillment-operator.io/vendorconnections",
    "list /configmaps",
    "list /secrets",
    "list fulfillment-operator.io/subscriptions",
    "list fulfillment-operator.io/tierconfigurations",
    "list fulfillment-operator.io/vendorconnections",
    "patch /secrets",
    "patch events.k8s.io/events",
    "patch fulfillment-operator.io/subscriptions",
    "patch fulfillment-operator.io/subscriptions/status",
    "patch fulfillment-operator.io/tierconfigurations",
    "patch fulfillment-operator.io/vendorconnections",
    "patch fulfillment-operator.io/tierconfigurations/status",
    "patch fulfillment-operator.io/vendorconnections/status",
    "update fulfillment-operator.io/subscriptions/status",
    "watch /configmaps",
    "watch /secrets",
    "watch fulfillment-operator.io/subscriptions",
    "watch fulfillment-operator.io/tierconfigurations",
    "watch fulfillment-operator.io/vendorconnections",
];

/// Only where it may look beyond namespaces can it see that its definition is being deleted, and tell
/// when a connection of the whole cluster is not needed any more.
const CLUSTER_WIDE: &[&str] = &[
    "get apiextensions.k8s.io/customresourcedefinitions",
    "get fulfillment-operator.io/clustervendorconnections",
    "list fulfillment-operator.io/clustervendorconnections",
    "patch fulfillment-operator.io/clustervendorconnections",
    "patch fulfillment-operator.io/clustervendorconnections/status",
    "watch fulfillment-operator.io/clustervendorconnections",
];

#[test]
fn the_operator_has_exactly_the_rights_it_needs() {
    let expected: BTreeSet<String> = RIGHTS.iter().map(|&right| right.to_owned()).collect();
    let everywhere = rendered(&[]);
    let mut cluster_wide = expected.clone();
    cluster_wide.extend(CLUSTER_WIDE.iter().map(|&right| right.to_owned()));
    assert_eq!(rights(&everywhere, "ClusterRole"), cluster_wide);
    let here = rendered(&["--set", "watchNamespaces={team-a,team-b}"]);
    let kinds: BTreeSet<&str> = here.iter().map(|o| o["kind"].as_str().unwrap()).collect();
    assert!(
        !kinds.contains("ClusterRole") && !kinds.contains("ClusterRoleBinding"),
        "{kinds:?}"
    );
    let team_a: Vec<Value> = here
        .into_iter()
        .filter(|o| o["metadata"]["namespace"] == "team-a")
        .collect();
    assert_eq!(rights(&team_a, "Role"), expected);
}

#[test]
fn an_operator_that_makes_no_key_has_no_right_to_make_one() {
    for (create, verbs, flags) in [(true, vec!["get", "create"], 0), (false, vec!["get"], 1)] {
        let objects = rendered(&["--set", &format!("installationKey.create={create}")]);
        let role = objects.iter().find(|o| {
            let name = o["metadata"]["name"].as_str().unwrap();
            o["kind"] == "Role" && name.ends_with("installation-key")
        });
        let rules = role.unwrap()["rules"].as_array().unwrap();
        let may: Vec<&str> = rules
            .iter()
            .flat_map(|rule| rule["verbs"].as_array().unwrap())
            .map(|verb| verb.as_str().unwrap())
            .collect();
        assert_eq!(may, verbs);
        let deployment = objects.iter().find(|o| o["kind"] == "Deployment").unwrap();
        let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let args = args.as_array().unwrap();
        let flag = json!("--create-installation-key=false");
        assert_eq!(args.iter().filter(|arg| **arg == flag).count(), flags);
    }
}

#[test]
fn the_lease_is_the_operators_own_and_no_other() {
    for values in [&[][..], &["--set", "watchNamespaces={team-a}"]] {
        let objects = rendered(values);
        let of = |kind: &str| {
            let mut found = objects.iter().filter(|o| {
                let name = o["metadata"]["name"].as_str().unwrap();
                o["kind"] == kind && name.ends_with("leader-election")
            });
            found.next().unwrap().clone()
        };
        let role = of("Role");
        assert_eq!(role["metadata"]["namespace"], "fulfillment");
        assert_eq!(
            role["rules"],
            json!([
                {
                    "apiGroups": ["coordination.k8s.io"],
                    "resources": ["leases"],
                    "resourceNames": ["fulfillment-operator"],
                    "verbs": ["get", "update"],
                },
                {
                    "apiGroups": ["coordination.k8s.io"],
                    "resources": ["leases"],
                    "verbs": ["create"],
                },
            ])
        );
        let binding = of("RoleBinding");
        assert_eq!(binding["metadata"]["namespace"], "fulfillment");
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    }
}

#[test]
fn two_replicas_elect_a_leader_on_nodes_of_their_own() {
    let of = |objects: &[Value], kind: &str| {
        let mut found = objects.iter().filter(|o| o["kind"] == kind);
        found.next().cloned()
    };
    let objects = rendered(&[]);
    let deployment = of(&objects, "Deployment").unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    let pod = &deployment["spec"]["template"]["spec"];
    let args = pod["containers"][0]["args"].as_array().unwrap();
    assert!(
        args.contains(&json!("--enable-leader-election")),
        "{args:?}"
    );
    let env = pod["containers"][0]["env"].as_array().unwrap();
    assert!(env.iter().any(|variable| variable["name"] == "POD_NAME"));
    // Passes have 30 s to end, and then the lease is given up.
    assert_eq!(pod["terminationGracePeriodSeconds"], 45);
    assert!(
        args.contains(&json!("--graceful-shutdown-timeout=30s")),
        "{args:?}"
    );
    let apart = &pod["affinity"]["podAntiAffinity"];
    let preferred = &apart["preferredDuringSchedulingIgnoredDuringExecution"][0];
    let labels = &preferred["podAffinityTerm"]["labelSelector"]["matchLabels"];
    assert_eq!(*labels, deployment["spec"]["selector"]["matchLabels"]);
    let budget = of(&objects, "PodDisruptionBudget").unwrap();
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["spec"]["selector"]["matchLabels"], *labels);

    let one = rendered(&["--set", "replicas=1,affinity.nodeAffinity.x=y"]);
    assert!(
        of(&one, "PodDisruptionBudget").is_none(),
        "it would block a drain"
    );
    let deployment = of(&one, "Deployment").unwrap();
    assert_eq!(
        deployment["spec"]["template"]["spec"]["affinity"],
        json!({"nodeAffinity": {"x": "y"}}),
        "the user's own"
    );
}

#[test]
fn no_secret_is_rendered_and_the_pod_is_restricted() {
    let objects = rendered(&[]);
    assert!(objects.iter().all(|o| o["kind"] != "Secret"));
    let pod =
        objects.iter().find(|o| o["kind"] == "Deployment").unwrap()["spec"]["template"]["spec"]
            .clone();
    let container = &pod["containers"][0];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(
        container["securityContext"]["allowPrivilegeEscalation"],
        false
    );
    assert_eq!(
        container["securityContext"]["capabilities"]["drop"][0],
        "ALL"
    );
}

#[test]
fn what_a_platform_asks_for_can_be_set() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let values = format!(
        "image.digest={digest},podSecurityContext.runAsUser=null,podDisruptionBudget.enabled=false,\
         metrics.serviceMonitor.enabled=true,rbac.aggregate=true,\
         topologySpreadConstraints[0].topologyKey=zone"
    );
    let objects = rendered(&["--set", &values]);
    let of = |kind: &str| objects.iter().find(|o| o["kind"] == kind);
    assert!(of("PodDisruptionBudget").is_none());
    let pod = &of("Deployment").unwrap()["spec"]["template"]["spec"];
    let image = pod["containers"][0]["image"].as_str().unwrap();
    assert_eq!(image, format!("localhost/fulfillment-operator@{digest}"));
    assert!(pod["securityContext"]["runAsUser"].is_null());
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["topologySpreadConstraints"][0]["topologyKey"], "zone");
    // It finds the Service, by its labels and the name of its port.
    let monitor = &of("ServiceMonitor").unwrap()["spec"];
    let service = of("Service").unwrap();
    for (label, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(service["metadata"]["labels"][label], *value);
    }
    let port = &monitor["endpoints"][0]["port"];
    assert_eq!(service["spec"]["ports"][0]["name"], *port);
    for (role, verb) in [("view", "get"), ("edit", "create")] {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{role}");
        let found = objects
            .iter()
            .find(|o| o["metadata"]["labels"][&label] == "true");
        let verbs = found.unwrap()["rules"][0]["verbs"].as_array().unwrap();
        assert!(verbs.contains(&json!(verb)), "{role}: {verbs:?}");
    }
}

#[test]
fn the_rendered_flags_are_ones_the_operator_takes() {
    for values in [
        &[][..],
        &[
            "--set",
            "watchNamespaces={a,b},allowInsecureVendorUrls=true,allowVendorNetworks={10.0.0.0/8}",
        ],
        &[
            "--set",
            "watchLabelSelector=tier=gold,installationKeySecret=x/y,logEncoding=console,settle=10s,clusterResourceNamespace=shared,callback.url=https://callbacks.example",
        ],
    ] {
        let objects = rendered(values);
        let pod = &objects.iter().find(|o| o["kind"] == "Deployment").unwrap()["spec"]["template"]
            ["spec"];
        let args = pod["containers"][0]["args"].as_array().unwrap();
        let args = args.iter().map(|arg| arg.as_str().unwrap());
        // Flags are parsed before anything else is done: --help says that they are all known.
        let output = Command::new(e2e::binaries::operator())
            .args(args)
            .arg("--help")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn callbacks_are_taken_where_their_url_is_set() {
    let url = "https://callbacks.example/fulfillment";
    let objects = rendered(&["--set", &format!("callback.url={url}")]);
    let deployment = objects.iter().find(|o| o["kind"] == "Deployment").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().unwrap();
    let at = json!({"name": "callback", "containerPort": 9443});
    assert!(container["ports"].as_array().unwrap().contains(&at));
    assert!(args.contains(&json!("--callback-addr=:9443")), "{args:?}");
    let flag = json!(format!("--callback-url={url}"));
    assert!(args.contains(&flag), "{args:?}");
    let is_service = |o: &&Value| {
        o["kind"] == "Service"
            && o["metadata"]["name"]
                .as_str()
                .unwrap()
                .ends_with("-callback")
    };
    let service = objects.iter().find(is_service).unwrap();
    let port = json!([{"name": "callback", "port": 80, "targetPort": "callback"}]);
    assert_eq!(service["spec"]["ports"], port);
    assert_eq!(
        service["spec"]["selector"],
        deployment["spec"]["selector"]["matchLabels"]
    );

    let without = rendered(&[]);
    assert!(!without.iter().any(|o| is_service(&o)));
    assert!(!json!(without).to_string().contains("--callback-"));
}

#[test]
fn unknown_and_mistyped_values_are_refused() {
    for wrong in [
        "allowInsecureVendorUrl=true",
        "concurrent=many",
        "replicas=two",
        "terminationGracePeriodSeconds=30",
        "watchNamespaces=team-a",
        "image.tags=x",
    ] {
        let output = helm(&[
            "template",
            "r",
            "charts/fulfillment-operator",
            "--set",
            wrong,
        ]);
        assert!(!output.status.success(), "{wrong} was taken");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let field = wrong.split(['=', '.']).next().unwrap();
        assert!(said.contains(field), "{wrong}: {said}");
    }
    for chart in [
        "charts/fulfillment-operator",
        "charts/fulfillment-operator-crds",
    ] {
        let output = helm(&["lint", "--strict", chart]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

/// No node runs the pods here: it is what helm creates and takes away again that is tried, beside an
/// operator of the harness.
#[test]
fn both_charts_install_and_take_no_tenant_with_them() {
    let world = World::builder().own_control_plane().start();
    world.subscribe("mail", json!({"limits": {"seats": 50}}));
    world.ready("mail");
    let kubeconfig = world.control_plane().admin_kubeconfig().to_owned();
    let helm = |args: &[&str]| {
        let config = format!("--kubeconfig={}", kubeconfig.display());
        let output = helm(&[args, &["--namespace=fulfillment", &config]].concat());
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    // The harness has installed the definitions before.
    let (crds, operator) = (
        "charts/fulfillment-operator-crds",
        "charts/fulfillment-operator",
    );
    let new = ["--create-namespace", "--take-ownership"];
    helm(&[&["install", "crds", crds][..], &new].concat());
    helm(&["install", "operator", operator]);
    // A second time with other values is an upgrade, as every GitOps tool makes it.
    helm(&["upgrade", "operator", operator, "--set=replicas=1"]);
    let names = |kind: &str| {
        let names = "jsonpath={.items[*].metadata.name}";
        let found = world.kubectl(&["get", kind, "--namespace=fulfillment", "-o", names]);
        found.trim().to_owned()
    };
    assert!(names("deployment").contains("fulfillment-operator"));
    helm(&["uninstall", "operator"]);
    helm(&["uninstall", "crds"]);
    assert_eq!(names("deployment"), "");

    assert!(names("crd").contains("subscriptions.fulfillment-operator.io"));
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    world.ready("mail");
}
