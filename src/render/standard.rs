//! The standard templates, compiled in: one line a file of `templates/`, and the only place that knows of them.

/// Name and text of every standard template.
pub const TEMPLATES: &[(&str, &str)] = &[
    ("10-labctl.conflist", include_str!("../../templates/10-labctl.conflist.tera")),
    ("99-loopback.conf", include_str!("../../templates/99-loopback.conf.tera")),
    ("containerd-config.toml", include_str!("../../templates/containerd-config.toml.tera")),
    ("containerd.service", include_str!("../../templates/containerd.service.tera")),
    ("coredns.yaml", include_str!("../../templates/coredns.yaml.tera")),
    ("encryption-config.yaml", include_str!("../../templates/encryption-config.yaml.tera")),
    ("etcd-bootstrap.env", include_str!("../../templates/etcd-bootstrap.env.tera")),
    ("etcd-member.sh", include_str!("../../templates/etcd-member.sh.tera")),
    ("etcd.service", include_str!("../../templates/etcd.service.tera")),
    ("kube-apiserver-to-kubelet.yaml", include_str!("../../templates/kube-apiserver-to-kubelet.yaml.tera")),
    ("kube-apiserver.service", include_str!("../../templates/kube-apiserver.service.tera")),
    ("kube-controller-manager.service", include_str!("../../templates/kube-controller-manager.service.tera")),
    ("kube-proxy-config.yaml", include_str!("../../templates/kube-proxy-config.yaml.tera")),
    ("kube-proxy.service", include_str!("../../templates/kube-proxy.service.tera")),
    ("kube-scheduler.service", include_str!("../../templates/kube-scheduler.service.tera")),
    ("kubelet-config.yaml", include_str!("../../templates/kubelet-config.yaml.tera")),
    ("kubelet.service", include_str!("../../templates/kubelet.service.tera")),
    ("labctl-pod-network.service", include_str!("../../templates/labctl-pod-network.service.tera")),
    ("labctl-vxlan-left", include_str!("../../templates/labctl-vxlan-left.tera")),
    ("nginx.conf", include_str!("../../templates/nginx.conf.tera")),
    ("nginx.service.conf", include_str!("../../templates/nginx.service.conf.tera")),
    ("smoke.yaml", include_str!("../../templates/smoke.yaml.tera")),
    ("scheduler.yaml", include_str!("../../templates/scheduler.yaml.tera")),
];
