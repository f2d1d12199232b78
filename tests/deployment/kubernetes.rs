//! deploy/kubernetes: read as YAML; what it gives the program must be what the program takes. scripts/validate-deploy holds
//! the same files against the schemas of Kubernetes.

use crate::root;
use serde_json::{Map, Value, json};
use std::process::Command;

fn documents(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

/// What `add` of JSON Patch does, as far as the chart's values use it.
fn add(document: &mut Value, operation: &Value) {
    assert_eq!(operation["op"], "add", "{operation}");
    let list = operation["path"].as_str().unwrap().strip_suffix("/-").unwrap();
    let list = document.pointer_mut(list).unwrap_or_else(|| panic!("the chart's pod has no {list}"));
    list.as_array_mut().unwrap().push(operation["value"].clone());
}

/// The pod of the NATS chart with the sidecar.
fn nats_pod() -> Value {
    let values = documents("deploy/kubernetes/nats-values.yaml").remove(0);
    let mut pod = documents("tests/deployment/stateful-set.yaml").remove(0)["spec"]["template"].clone();
    assert_eq!(values.as_object().unwrap().keys().collect::<Vec<_>>(), ["podTemplate"]);
    // A list under `merge` would replace that of the chart.
    assert_eq!(values["podTemplate"].as_object().unwrap().keys().collect::<Vec<_>>(), ["patch"]);
    for operation in values["podTemplate"]["patch"].as_array().unwrap() {
        add(&mut pod, operation);
    }
    pod
}

/// The agent's container of a pod, which mounts what the pod has, and is as restricted as a namespace may ask for.
fn assert_container(pod: &Value) -> Value {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    let own: Vec<&Value> = containers.iter().filter(|c| c["name"] == "insights-agent").collect();
    let [container] = own[..] else { panic!("{} containers are the agent's", own.len()) };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(container["image"], format!("insights-agent:{version}"));
    for mount in container["volumeMounts"].as_array().unwrap() {
        let volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
        let found: Vec<&Value> = volumes.filter(|volume| volume["name"] == mount["name"]).collect();
        assert!(found.len() == 1 && mount["readOnly"] == true, "{mount}");
    }
    let mut security = pod["spec"]["securityContext"].as_object().cloned().unwrap_or_default();
    security.extend(container["securityContext"].as_object().cloned().unwrap_or_default());
    assert_eq!(
        (&security["runAsNonRoot"], &security["allowPrivilegeEscalation"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}));
    assert_eq!(security["readOnlyRootFilesystem"], true);
    container.clone()
}

/// What the program makes of a container's arguments and environment.
fn configured(container: &Value) -> toml::Table {
    let arguments: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
    let rest = arguments.strip_prefix(&["run"]).expect("the command `run`");
    let environment = container["env"].as_array().unwrap().iter();
    let environment: Map<String, Value> =
        environment.map(|of| (of["name"].as_str().unwrap().to_owned(), of["value"].clone())).collect();
    let shown = Command::new(env!("CARGO_BIN_EXE_insights-agent"))
        .args(["config", "show"])
        .args(rest)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value.as_str().unwrap())))
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    toml::from_str(std::str::from_utf8(&shown.stdout).unwrap()).unwrap()
}

/// The credentials are a file of the mounted secret that the README and the first lines of the file make.
fn assert_credentials(container: &Value, config: &toml::Table) {
    let creds = config["connection"]["creds"].as_str().unwrap();
    let mount = &container["volumeMounts"][0];
    assert_eq!(format!("{}/insights.creds", mount["mountPath"].as_str().unwrap()), creds);
    assert_eq!(mount["name"], "insights-creds");
}

#[test]
fn the_sidecar_is_added_to_the_pods_of_the_nats_chart() {
    let pod = nats_pod();
    let names: Vec<&Value> =
        pod["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["nats", "reloader", "insights-agent"]);
    let container = assert_container(&pod);
    let config = configured(&container);
    assert_eq!(config["connection"]["servers"], toml::Value::from(vec!["nats://127.0.0.1:4222"]));
    assert_eq!(config["epoch"].as_str(), Some("1m"));
    assert_credentials(&container, &config);
    // Guaranteed stays Guaranteed.
    assert_eq!(container["resources"]["requests"], container["resources"]["limits"]);
    // No fsGroup gives the file to a group of the agent's user, so that all may read it.
    assert_eq!(pod["spec"]["securityContext"], Value::Null);
    let secret = &pod["spec"]["volumes"].as_array().unwrap().last().unwrap()["secret"];
    assert_eq!(secret["defaultMode"].as_u64(), Some(0o444));
}

#[test]
fn the_deployment_is_two_replicas_that_nobody_connects_to() {
    let documents = documents("deploy/kubernetes/agent.yaml");
    let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
    let kinds: Vec<&str> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ServiceAccount", "Deployment", "PodDisruptionBudget", "NetworkPolicy"]);
    let spec = &of("Deployment")["spec"];
    assert_eq!(
        (&spec["replicas"], &of("PodDisruptionBudget")["spec"]["minAvailable"]),
        (&json!(2), &json!(1))
    );
    let pod = &spec["template"];
    assert_eq!(pod["spec"]["serviceAccountName"], of("ServiceAccount")["metadata"]["name"]);
    assert_eq!(of("ServiceAccount")["automountServiceAccountToken"], false);
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    let container = assert_container(pod);
    let config = configured(&container);
    assert_credentials(&container, &config);
    // The agent's user reads the file by its group.
    assert_eq!(pod["spec"]["securityContext"]["fsGroup"], pod["spec"]["securityContext"]["runAsGroup"]);
    assert_eq!(pod["spec"]["volumes"][0]["secret"]["defaultMode"].as_u64(), Some(0o440));

    let labels = &pod["metadata"]["labels"];
    let policy = &of("NetworkPolicy")["spec"];
    for selector in
        [&spec["selector"], &of("PodDisruptionBudget")["spec"]["selector"], &policy["podSelector"]]
    {
        assert_eq!(&selector["matchLabels"], labels);
    }
    assert_eq!((&policy["ingress"], &container["ports"]), (&json!([]), &Value::Null));
    let ports: Vec<&Value> =
        policy["egress"].as_array().unwrap().iter().map(|rule| &rule["ports"][0]["port"]).collect();
    let server = config["connection"]["servers"][0].as_str().unwrap();
    assert_eq!((ports, server), (vec![&json!(53), &json!(4222)], "nats://nats:4222"));
}
