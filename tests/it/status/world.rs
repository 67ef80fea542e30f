//! A lab that is well, by what its nodes answer; and ways to change that.

use std::collections::BTreeMap;

use labctl::cluster::{Cluster, Node, PodNetwork, Role};
use labctl::pki::identity::{Holding, Mark};
use labctl::pki::inspect::Certificate;
use labctl::pki::rotation::PkiContent;
use labctl::pki::{Pki, list};
use labctl::secret::Secret;
use labctl::status::answer::parse;
use labctl::status::ask::{script, units_of};
use labctl::status::judge::docket::{Known, Silence};
use labctl::status::judge::judge;
use labctl::status::{Deviation, LabStatus};
use time::OffsetDateTime;

use crate::support::labs;
use crate::support::workshop::Workshop;

/// Three controllers, a load balancer and three workers, and what each of them answers.
pub struct World {
    pub cluster: Cluster,
    pub pki: Pki,
    pub texts: BTreeMap<String, String>,
    pub silent: BTreeMap<String, Silence>,
    pub drift: Deviation,
    pub now: OffsetDateTime,
}

impl World {
    pub fn well() -> Self {
        let mut cluster = labs::ha();
        cluster.network.mode = PodNetwork::Routes;
        let workshop = Workshop::new(cluster);
        let mut world = Self {
            cluster: workshop.cluster.clone(),
            texts: BTreeMap::new(),
            silent: BTreeMap::new(),
            drift: Deviation::Changes(Vec::new()),
            now: OffsetDateTime::now_utc(),
            pki: workshop.pki.clone(),
        };
        for node in &world.cluster.nodes {
            let text = world.answer(node, &workshop.kubeconfigs);
            world.texts.insert(node.name.clone(), text);
        }
        world
    }

    fn holding(&self) -> Holding {
        let content: PkiContent = self
            .pki
            .names()
            .filter_map(|name| Some((name.to_owned(), self.pki.file(name)?.clone())))
            .collect();
        Holding::new(&self.cluster.name, &content, &Mark::default())
    }

    /// What a node answers when all is well.
    fn answer(&self, node: &Node, kubeconfigs: &BTreeMap<String, Secret>) -> String {
        let cluster = &self.cluster;
        let asked = script(cluster, node, &units_of(node));
        let mut lines = vec![
            format!("clock\t{}.5", self.now.unix_timestamp()),
            "machine\t7380\t0.10\t2".to_owned(),
            format!("address\t{}", node.address),
            "room\tspace\t40%\t9000000\t/".to_owned(),
            "room\tinodes\t10%\t9000000\t/".to_owned(),
        ];
        lines.extend(
            node.pod_cidr.map(|pods| format!("address\t{}", labctl::status::ask::first(pods))),
        );
        for unit in units_of(node) {
            lines.push(format!("unit\tId={unit}"));
            for state in ["ActiveState=active", "SubState=running", "UnitFileState=enabled"] {
                lines.push(format!("unit\t{state}"));
            }
            lines.push("unit\t".to_owned());
        }
        for other in &cluster.nodes {
            lines.push(format!("hosts\t{} {} # labctl", other.address, other.name));
            if let Some(pods) = other.pod_cidr.filter(|_| other.name != node.name) {
                lines.push(format!("route\t{pods} via {} dev host0 ", other.address));
            }
        }
        let mark = self.holding().mark().text();
        lines.extend(mark.lines().map(|line| format!("mark\t{line}")));
        lines.extend(self.certificates(node, kubeconfigs));
        let answers = [("health", 200), ("path", 200), ("peer", 400)];
        for (what, code) in answers {
            let variable = if what == "health" { what.to_owned() } else { format!("{what}s") };
            lines.extend(
                words(&asked, &variable).iter().map(|url| format!("{what}\t{code}\t{url}")),
            );
        }
        if node.has(Role::Controller) {
            lines.extend(self.control_plane(node, &words(&asked, "api")));
        }
        lines.push("end".to_owned());
        lines.join("\n") + "\n"
    }

    fn certificates(&self, node: &Node, kubeconfigs: &BTreeMap<String, Secret>) -> Vec<String> {
        let paths = list::paths_of_certificates();
        let placed = list::files_of(node).into_iter().filter(|file| paths.contains(&file.to));
        placed
            .map(|file| {
                let text = match file.from.strip_prefix("pki/") {
                    Some(name) => {
                        let pem = self.pki.get(name).expect("a certificate");
                        String::from_utf8_lossy(pem).replace('\n', "|")
                    }
                    None => {
                        let name = file.from.trim_start_matches("kubeconfig/");
                        let conf = kubeconfigs.get(name).expect("a kubeconfig");
                        let conf = conf.expose_text().expect("text");
                        let key = "client-certificate-data: ";
                        let line = conf.lines().find_map(|line| line.split_once(key));
                        line.expect("a certificate").1.to_owned()
                    }
                };
                format!("certificate\t{}\t{text}", file.to)
            })
            .collect()
    }

    fn control_plane(&self, node: &Node, api: &[String]) -> Vec<String> {
        let controllers: Vec<&Node> = self.cluster.with_role(Role::Controller).collect();
        let id = controllers.iter().position(|it| it.name == node.name).expect("a member") + 1;
        let members = controllers
            .iter()
            .enumerate()
            .map(|(at, it)| format!("{{\"ID\":\"{}\",\"name\":\"{}\"}}", at + 1, it.name));
        let members = members.collect::<Vec<_>>().join(",");
        let mut lines = vec![
            format!(
                "etcd\tmaintenance/status\t{{\"header\":{{\"member_id\":\"{id}\"}},\
                 \"version\":\"3.6.6\",\"dbSize\":\"2000000\",\"leader\":\"1\"}}"
            ),
            format!("etcd\tcluster/member/list\t{{\"header\":{{}},\"members\":[{members}]}}"),
            "api".to_owned(),
        ];
        let version = self.cluster.kubernetes;
        let nodes = self.cluster.with_role(Role::Worker).map(|worker| {
            format!(
                "{{\"metadata\":{{\"name\":\"{}\"}},\"status\":{{\"conditions\":[{{\"type\":\
                 \"Ready\",\"status\":\"True\",\"message\":\"fine\"}}],\"nodeInfo\":\
                 {{\"kubeletVersion\":\"v{version}\"}}}}}}",
                worker.name
            )
        });
        let bodies = [
            "ok".to_owned(),
            format!("{{\n  \"gitVersion\": \"v{version}\"\n}}"),
            format!("{{\"items\":[{}]}}", nodes.collect::<Vec<_>>().join(",")),
            "{\"items\":[{\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":\
             {\"nodeName\":\"worker-0\"},\"status\":{\"phase\":\"Running\",\"containerStatuses\":\
             [{\"ready\":true,\"state\":{\"running\":{}}}]}}]}"
                .to_owned(),
            "{\"spec\":{\"replicas\":2},\"status\":{\"availableReplicas\":2}}".to_owned(),
        ];
        for (body, url) in bodies.iter().zip(api) {
            lines.extend([body.clone(), format!("@200 {url}")]);
        }
        lines.push("api-end".to_owned());
        lines
    }

    /// Changes what a node answers, everywhere in it.
    pub fn change(&mut self, node: &str, from: &str, to: &str) {
        let text = self.texts.get_mut(node).expect("a node that answers");
        assert!(text.contains(from), "{node} does not answer `{from}`:\n{text}");
        *text = text.replace(from, to);
    }

    /// Takes lines out of what a node answers.
    pub fn without(&mut self, node: &str, what: impl Fn(&str) -> bool) {
        let text = self.texts.get_mut(node).expect("a node that answers");
        let lines: Vec<&str> = text.lines().filter(|line| !what(line)).collect();
        *text = lines.join("\n");
    }

    /// A unit is in another state.
    pub fn unit(&mut self, node: &str, unit: &str, state: &str) {
        let before = format!(
            "unit\tId={unit}.service\nunit\tActiveState=active\n\
                              unit\tSubState=running\n"
        );
        self.change(node, &before, &format!("unit\tId={unit}.service\n{state}"));
    }

    pub fn add(&mut self, node: &str, line: &str) {
        self.change(node, "\nend\n", &format!("\n{line}\nend\n"));
    }

    pub fn everywhere(&mut self, from: &str, to: &str) {
        for text in self.texts.values_mut() {
            *text = text.replace(from, to);
        }
    }

    /// The HTTP status of an answer of all API servers.
    pub fn api(&mut self, path: &str, body: &str, code: u16) {
        for text in self.texts.values_mut().filter(|text| text.contains("api\n")) {
            let marker = format!("@200 https://127.0.0.1:6443{path}");
            let end = text.find(&marker).expect("it was asked");
            let start = text[..end].rfind("\n@200 ").expect("an answer before it");
            let start = start + 1 + text[start + 1..].find('\n').expect("its end") + 1;
            let marker = marker.replace("@200", &format!("@{code}"));
            let after = &text[end..];
            let after = &after[after.find('\n').expect("its end")..];
            *text = format!("{}{body}\n{marker}{after}", &text[..start]);
        }
    }

    pub fn judged(&self) -> LabStatus {
        let answers = self
            .texts
            .iter()
            .filter(|(node, _)| !self.silent.contains_key(*node))
            .map(|(node, text)| (node.clone(), parse(text).expect("a whole answer")))
            .collect();
        let ca = |name| Certificate::from_pem(self.pki.get(name).expect("a CA")).expect("a CA");
        judge(&Known {
            cluster: &self.cluster,
            nodes: self.cluster.nodes.iter().collect(),
            inventory: "ha.yaml".to_owned(),
            units: self.cluster.nodes.iter().map(|it| (it.name.clone(), units_of(it))).collect(),
            answers,
            silent: self.silent.clone(),
            holding: self.holding(),
            authorities: ["ca.crt", "etcd/ca.crt", "front-proxy-ca.crt"].map(ca).into(),
            drift: self.drift.clone(),
            now: self.now,
        })
    }
}

/// A value that stands above the script of a node.
fn words(script: &str, name: &str) -> Vec<String> {
    let line = script.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    let line = line.expect("a value").trim_matches('\'');
    line.split_whitespace().map(str::to_owned).collect()
}
