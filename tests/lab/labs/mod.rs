//! The labs of `docs/labs/`: each comes up with one command, shows what it is there to show, and
//! goes without a trace.

mod bootstrap;
mod by_hand;
mod dmuc;
mod docker;
mod flannel;
mod interconnect;
mod ipv6;
mod kube_router;
mod local_lb;
mod multinode;
mod oidc;
mod static_pods;
mod submit;
mod users;
mod vip;
mod vxlan;
mod workshop;

use crate::is_settled;
use crate::lab::{Lab, busybox};

/// The lab is as its inventory says, and `status` finds nothing wrong with it.
pub fn is_well(lab: &Lab) {
    is_settled(lab);
    let status = lab.run(&["status"]);
    assert_eq!(status.code, Some(0), "{}", status.story());
}

/// Waits until kubectl prints what `right` accepts, and returns that.
fn in_time(lab: &Lab, arguments: &str, right: impl Fn(&str) -> bool) -> String {
    let last = std::cell::RefCell::new(String::new());
    let came = lab.within_two_minutes(|| {
        // What is asked for need not be there yet.
        let output = lab.kubectl(arguments);
        let text = if output.status.success() { output.stdout } else { output.stderr };
        *last.borrow_mut() = String::from_utf8_lossy(&text).trim().to_owned();
        output.status.success() && right(&last.borrow())
    });
    assert!(came, "kubectl {arguments}: {}", last.borrow());
    last.into_inner()
}

/// A web server on every worker, behind a Service: each pod's name, address and node, and the
/// Service's address. `from` is a controller.
fn web(lab: &Lab, from: &str, workers: usize) -> (Vec<[String; 3]>, String) {
    let image = busybox();
    // The page of a pod is its name.
    let serve = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www";
    // Not one flow mapping: what begins with a brace is JSON to an old kubectl.
    let manifest = format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: web}}\nspec: {{selector: \
         {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, spec: \
         {{terminationGracePeriodSeconds: 1, containers: [{{name: web, image: {image}, \
         imagePullPolicy: Never, command: [sh, -c, {serve:?}]}}]}}}}}}\n---\napiVersion: v1\n\
         kind: Service\nmetadata: {{name: web}}\nspec: {{selector: {{app: web}}, ports: [{{port: \
         80}}]}}\n"
    );
    let kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
    lab.on(from, &format!("{kubectl} apply -f - <<'END'\n{manifest}END"));
    let ready = "get daemonset web -o jsonpath={.status.numberReady}";
    in_time(lab, ready, |ready| ready == workers.to_string());
    let fields = "{.metadata.name},{.status.podIP},{.spec.nodeName}";
    let list = lab.kubectl_says(&format!(
        "get pods -l app=web -o jsonpath={{range.items[*]}}{fields};{{end}}"
    ));
    let pod = |text: &str| -> [String; 3] {
        let fields: Vec<String> = text.split(',').map(str::to_owned).collect();
        fields.try_into().expect("a name, an address and a node")
    };
    let pods: Vec<[String; 3]> = list.split_terminator(';').map(pod).collect();
    assert_eq!(pods.len(), workers, "{list}");
    (pods, lab.kubectl_says("get service web -o jsonpath={.spec.clusterIP}"))
}

/// Builds the images of an add-on and puts them beside its manifest, as its page says.
fn extras(addon: &str) {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = sources.join("inventories").join(addon).display().to_string();
    crate::lab::said(&sources.join("tests/extras/build").display().to_string(), &[addon, &folder]);
}

/// Every pod reaches every pod.
fn all_reach_all(lab: &Lab, pods: &[[String; 3]]) {
    for [from, _, on] in pods {
        for [to, address, at] in pods {
            let answer =
                lab.kubectl_says(&format!("exec {from} -- wget -q -T 5 -O - http://{address}/"));
            assert_eq!(answer, *to, "from {on} to {at}");
        }
    }
}

/// A megabyte passes whole from one pod to another.
fn a_megabyte_passes(lab: &Lab, [name, address, _]: &[String; 3], to: &str) {
    lab.kubectl_says(&format!(
        "exec {name} -- dd if=/dev/urandom of=/www/large bs=1024 count=1024"
    ));
    let sum = |text: String| text.split(' ').next().expect("a sum").to_owned();
    let sent = sum(lab.kubectl_says(&format!("exec {name} -- sha256sum /www/large")));
    lab.kubectl_says(&format!("exec {to} -- wget -q -T 20 -O /tmp/large http://{address}/large"));
    assert_eq!(sum(lab.kubectl_says(&format!("exec {to} -- sha256sum /tmp/large"))), sent);
}

/// How many of so many connections from a node to an address are answered. Not more of them at a
/// time than wait in the queue of a small web server.
fn answered(lab: &Lab, node: &str, address: &str, of: usize) -> usize {
    let ask = format!(
        "seq {of} | xargs -P 9 -I@ curl -qs --noproxy '*' --connect-timeout 2 -o /dev/null -w \
         '%{{http_code}}\\n' http://{address}/ | grep -c 200 || true"
    );
    lab.on(node, &ask).parse().expect("a number")
}

/// Ends everything that runs on a node at once, as a power failure does.
pub fn power_failure(lab: &Lab, node: &str) {
    let directory = lab.directory().canonicalize().expect("the lab's directory");
    let directory = labctl::lab::LabDirectory::new(directory);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(labctl::local::kill(&directory, node)).expect("it is off");
}
