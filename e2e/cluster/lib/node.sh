# shellcheck shell=bash
# The machine as a node: kernel settings, the bridge, and how every part is
# configured and started.

# What the cluster, its kubelet and its proxy set. The old values are written
# down before anything starts, and `down` puts them back.
sysctl_wishes() {
	cat <<'WISHES'
net.ipv4.ip_forward 1
net.ipv4.conf.all.route_localnet 1
net.bridge.bridge-nf-call-iptables 1
fs.inotify.max_user_instances 8192
fs.inotify.max_user_watches 524288
vm.overcommit_memory 1
vm.panic_on_oom 0
kernel.panic 10
kernel.panic_on_oops 1
kernel.keys.root_maxkeys 1000000
kernel.keys.root_maxbytes 25000000
WISHES
}

sysctl_file() { echo "/proc/sys/$(tr . / <<<"$1")"; }

set_sysctls() {
	local name wish file
	if [ ! -f "$STATE/sysctl.before" ]; then
		while read -r name wish; do
			file=$(sysctl_file "$name")
			[ ! -r "$file" ] || echo "$name $(<"$file")"
		done < <(sysctl_wishes) | write_file "$STATE/sysctl.before" || true
	fi
	while read -r name wish; do
		file=$(sysctl_file "$name")
		[ -w "$file" ] || continue
		case $name in
		fs.inotify.*) [ "$(<"$file")" -lt "$wish" ] || continue ;;
		esac
		[ "$(<"$file")" = "$wish" ] || echo "$wish" >"$file"
	done < <(sysctl_wishes)
}

restore_sysctls() {
	local name value file
	[ -f "$STATE/sysctl.before" ] || return 0
	while read -r name value; do
		file=$(sysctl_file "$name")
		[ ! -w "$file" ] || [ "$(<"$file")" = "$value" ] || echo "$value" >"$file"
	done <"$STATE/sysctl.before"
}

# prepare_node makes the bridge itself, ahead of the first pod: the node's
# address is on it, and the API server advertises that.
prepare_node() {
	modprobe -qa overlay br_netfilter nf_conntrack 2>/dev/null || true
	set_sysctls
	if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
		ip link add "$BRIDGE" address 02:e5:0a:58:00:01 type bridge
	fi
	ip addr replace "$NODE_IP/${POD_CIDR#*/}" dev "$BRIDGE"
	ip link set "$BRIDGE" up
	refuse_dead_services
	write_resolv_conf
}

# What goes to a Service without endpoints is nobody's. The CNI plugins let it
# pass before kube-proxy's rules would refuse it, and then the machine's gateway
# may answer: a proxy there did, with 404, and clients took that for the truth.
refuse_dead_services() {
	accept_dead_services
	ip rule add iif "$BRIDGE" to "$SERVICE_CIDR" unreachable
}
accept_dead_services() {
	while ip rule del iif "$BRIDGE" to "$SERVICE_CIDR" unreachable 2>/dev/null; do :; done
}

# Name servers that pods can reach: a resolver on the machine's own loopback is
# not one of them.
write_resolv_conf() {
	local file=/etc/resolv.conf
	grep -qsE '^nameserver +(127\.|::1)' "$file" && [ -s /run/systemd/resolve/resolv.conf ] &&
		file=/run/systemd/resolve/resolv.conf
	{ grep -sE '^nameserver ' "$file" || true; } | { grep -vE ' (127\.|::1)' || true; } |
		write_file "$STATE/conf/resolv.conf" || true
	# Pods that do not run as root read it, too.
	chmod 644 "$STATE/conf/resolv.conf"
}

start_etcd() {
	start_part etcd "" "$BIN/etcd" --name=evenkeel --data-dir="$STATE/etcd" \
		--listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
		--listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
		--initial-cluster=evenkeel=http://127.0.0.1:2380 \
		--unsafe-no-fsync --quota-backend-bytes=4294967296 \
		--auto-compaction-mode=periodic --auto-compaction-retention=30m --log-level=warn
}

start_kube_apiserver() {
	write_file "$STATE/conf/audit-policy.yaml" <<'YAML' || true
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
YAML
	start_part kube-apiserver "$STATE/conf/audit-policy.yaml" "$BIN/kube-apiserver" \
		--etcd-servers=http://127.0.0.1:2379 \
		--secure-port="$API_PORT" --advertise-address="$NODE_IP" \
		--service-cluster-ip-range="$SERVICE_CIDR" \
		--tls-cert-file="$STATE/pki/apiserver.crt" --tls-private-key-file="$STATE/pki/apiserver.key" \
		--client-ca-file="$STATE/pki/ca.crt" \
		--service-account-key-file="$STATE/pki/sa.pub" --service-account-signing-key-file="$STATE/pki/sa.key" \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
		--allow-privileged=true \
		--kubelet-client-certificate="$STATE/pki/apiserver-kubelet-client.crt" \
		--kubelet-client-key="$STATE/pki/apiserver-kubelet-client.key" \
		--kubelet-certificate-authority="$STATE/pki/ca.crt" \
		--kubelet-preferred-address-types=InternalIP \
		--max-requests-inflight=1600 --max-mutating-requests-inflight=800 \
		--audit-policy-file="$STATE/conf/audit-policy.yaml" --audit-log-path="$STATE/log/audit.log" \
		--audit-log-maxsize=2000 --audit-log-maxbackup=1 \
		--profiling=false
}

api_ready() { kubectl_admin --request-timeout=5s get --raw /readyz; }

kubectl_admin() { "$BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE" "$@"; }

start_kube_controller_manager() {
	local kubeconfig=$STATE/conf/controller-manager.kubeconfig
	# After an outage of the API server its watches may take longer to come back than a node may be silent by default
	# (50 s): it would declare the only node, and with it every pod, not ready.
	start_part kube-controller-manager "" "$BIN/kube-controller-manager" \
		--kubeconfig="$kubeconfig" --authentication-kubeconfig="$kubeconfig" --authorization-kubeconfig="$kubeconfig" \
		--bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials \
		--service-account-private-key-file="$STATE/pki/sa.key" --root-ca-file="$STATE/pki/ca.crt" \
		--cluster-signing-cert-file="$STATE/pki/ca.crt" --cluster-signing-key-file="$STATE/pki/ca.key" \
		--flex-volume-plugin-dir="$STATE/kubelet/volume-plugins" \
		--allocate-node-cidrs=false --cluster-cidr="$POD_CIDR" --node-monitor-grace-period=10m \
		--kube-api-qps=300 --kube-api-burst=600 --profiling=false
}

start_kube_scheduler() {
	local kubeconfig=$STATE/conf/scheduler.kubeconfig
	start_part kube-scheduler "" "$BIN/kube-scheduler" \
		--kubeconfig="$kubeconfig" --authentication-kubeconfig="$kubeconfig" --authorization-kubeconfig="$kubeconfig" \
		--bind-address=127.0.0.1 --leader-elect=false --kube-api-qps=300 --kube-api-burst=600 --profiling=false
}

start_containerd() {
	local snapshotter=overlayfs
	mkdir -p "$STATE/containerd" "$STATE/cni/conf"
	# An overlay cannot lie on another one, as in a container.
	case $(stat -f -c %T "$STATE") in
	overlay*) snapshotter=native ;;
	esac
	write_file "$STATE/cni/conf/10-evenkeel.conflist" <<JSON || true
{
  "cniVersion": "1.0.0",
  "name": "evenkeel",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "$BRIDGE",
      "isGateway": true,
      "ipMasq": true,
      "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "$STATE/cni/networks",
        "ranges": [[{"subnet": "$POD_CIDR"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}},
    {"type": "firewall"}
  ]
}
JSON
	# Everything that containerd writes by default elsewhere is put below the
	# state directory, so that removing that removes it all.
	# restrict_oom_score_adj: root may lack CAP_SYS_RESOURCE, and then no sandbox
	# could be given the score that the kubelet asks for.
	write_file "$STATE/conf/containerd.toml" <<TOML || true
version = 2
root = "$STATE/containerd/root"
state = "$STATE/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "$CONTAINERD_SOCKET"

[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$(cni_plugin_dir)"
    conf_dir = "$STATE/cni/conf"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "$(command -v runc)"
        Root = "$STATE/containerd/runc"
        SystemdCgroup = false
TOML
	start_part containerd "$STATE/conf/containerd.toml" \
		"$(command -v containerd)" --config "$STATE/conf/containerd.toml"
}

containerd_ctl() { ctr --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

start_kubelet() {
	mkdir -p "$STATE/kubelet"
	# Where every reader of a node's logs looks. The mark says whose it is.
	[ -e /var/log/pods ] || { mkdir -p /var/log/pods && touch "/var/log/pods/$POD_LOGS_MARK"; }
	# Images cannot be pulled again, so none is ever collected; and a full disk
	# is for the person at the machine to see, not a reason to evict pods.
	write_file "$STATE/conf/kubelet.yaml" <<YAML || true
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $STATE/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/kubelet.crt
tlsPrivateKeyFile: $STATE/pki/kubelet.key
containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
clusterDNS: ["$DNS_SERVICE_IP"]
clusterDomain: cluster.local
resolvConf: $STATE/conf/resolv.conf
volumePluginDir: $STATE/kubelet/volume-plugins
maxPods: 250
kubeAPIQPS: 300
kubeAPIBurst: 600
eventRecordQPS: 300
eventBurst: 600
registryPullQPS: 0
serializeImagePulls: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard:
  memory.available: 50Mi
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
  imagefs.inodesFree: "0%"
YAML
	# --containerd: cAdvisor looks there for the names of containers, whose
	# metrics otherwise stop at the pod.
	start_part kubelet "$STATE/conf/kubelet.yaml" "$BIN/kubelet" \
		--config="$STATE/conf/kubelet.yaml" --kubeconfig="$STATE/conf/kubelet-client.kubeconfig" \
		--root-dir="$STATE/kubelet" --containerd="$CONTAINERD_SOCKET" --hostname-override="$NODE_NAME" --node-ip="$NODE_IP" --v=2
}

start_kube_proxy() {
	local masquerade_all=false
	# Without bridge netfilter the answers of a pod on the same bridge bypass
	# the address translation; then all Service traffic has to come from the node.
	[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || masquerade_all=true
	write_file "$STATE/conf/kube-proxy.yaml" <<YAML || true
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: $POD_CIDR
hostnameOverride: $NODE_NAME
bindAddress: 0.0.0.0
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clientConnection:
  kubeconfig: $STATE/conf/proxy.kubeconfig
iptables:
  masqueradeAll: $masquerade_all
  minSyncPeriod: 100ms
conntrack:
  maxPerCore: 0
  min: 0
  tcpEstablishedTimeout: 0s
  tcpCloseWaitTimeout: 0s
YAML
	start_part kube-proxy "$STATE/conf/kube-proxy.yaml" "$BIN/kube-proxy" --config="$STATE/conf/kube-proxy.yaml"
}
