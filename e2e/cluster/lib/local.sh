# shellcheck shell=bash
# CLUSTER=local: everything on this machine, from the programs that tools.sh
# builds.

local_up() {
	local started=$SECONDS
	[ "$(id -u)" = 0 ] || die "CLUSTER=local needs root (it starts containers); or use CLUSTER=kind or CLUSTER=current"
	local_deps
	build_tools
	use_tools
	forget_other_boot
	refuse_other_settings
	refuse_other_kubernetes
	mkdir -p "$STATE"/{run,conf,log}
	chmod 711 "$STATE"
	remember_settings

	make_pki
	make_kubeconfigs
	prepare_node

	start_etcd
	start_containerd
	await_part 30 etcd port_open 2379
	start_kube_apiserver
	await_part 60 containerd containerd_ctl version
	load_node_images
	await_part 90 kube-apiserver api_ready
	start_kube_controller_manager
	start_kube_scheduler
	start_kubelet
	start_kube_proxy
	apply_coredns
	await_part 60 kubelet kubectl_admin --request-timeout=5s get --raw "/api/v1/nodes/$NODE_NAME/proxy/healthz"
	await_part 90 kubelet kubectl_admin wait --for=condition=Ready --timeout=1s "node/$NODE_NAME"
	wait_until 120 "CoreDNS is not ready" "$(part_log kubelet)" \
		kubectl_admin -n kube-system rollout status deployment/coredns --timeout=2s
	# Right after a crash the API still tells of pods that are gone: ask one.
	wait_until 120 "CoreDNS does not answer" "$(part_log kubelet)" \
		kubectl_admin --request-timeout=5s get --raw /api/v1/namespaces/kube-system/services/kube-dns:metrics/proxy/metrics
	for part in "${PARTS[@]}"; do await_part 10 "$part" true; done
	say "the cluster is up ($((SECONDS - started))s): export KUBECONFIG=$KUBECONFIG_FILE PATH=$BIN:\$PATH"
}

use_tools() {
	BIN=$(tools_dir)
	PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
}

# port_open PORT: whether something accepts connections there.
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

settings() {
	printf '%s\n' "node name $NODE_NAME" "API server port $API_PORT" "pods $POD_CIDR" "services $SERVICE_CIDR"
}

# A reboot takes mounts, networks and processes away and leaves a state that
# speaks of them, from an etcd that did not sync: not worth mending.
forget_other_boot() {
	[ -f "$STATE/boot" ] || return 0
	[ "$(</proc/sys/kernel/random/boot_id)" = "$(<"$STATE/boot")" ] || local_down
}

refuse_other_settings() {
	[ -f "$STATE/settings" ] || return 0
	settings | cmp -s - "$STATE/settings" || die "the cluster in $STATE was made with other settings:
$(cat "$STATE/settings")
run 'cluster down' first"
}

remember_settings() {
	settings | write_file "$STATE/settings" || true
	cat /proc/sys/kernel/random/boot_id >"$STATE/boot"
}

# A second Kubernetes on one machine would share its iptables chains and its
# cgroups with ours, and ours would take them down with it.
refuse_other_kubernetes() {
	local pid
	for pid in $(foreign_kubernetes); do
		die "another Kubernetes runs on this machine ($(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-200), process $pid): use CLUSTER=current with its kubeconfig, or stop it"
	done
}

apply_coredns() {
	local forward=
	[ ! -s "$STATE/conf/resolv.conf" ] || forward='forward . /etc/resolv.conf'
	sed -e "s|^\( *\)FORWARD$|\1$forward|" -e "s|COREDNS_IMAGE|$COREDNS_IMAGE|" \
		-e "s|DNS_SERVICE_IP|$DNS_SERVICE_IP|" "$MANIFEST_DIR/coredns.yaml" >"$STATE/conf/coredns.yaml"
	if ! kubectl_admin apply --server-side --force-conflicts -f "$STATE/conf/coredns.yaml" >"$STATE/log/coredns-apply.log" 2>&1; then
		show_log "$STATE/log/coredns-apply.log"
		die "CoreDNS could not be applied"
	fi
}

local_status() {
	local part pid
	use_tools
	for part in "${PARTS[@]}"; do
		if pid=$(part_pid "$part"); then
			printf '%-24s running (%s)\n' "$part" "$pid"
		else
			printf '%-24s stopped\n' "$part"
		fi
	done
	if part_runs kube-apiserver; then
		kubectl_admin --request-timeout=5s get nodes 2>&1 || true
		kubectl_admin --request-timeout=5s get pods -A 2>&1 || true
	fi
	[ ! -s "$STATE/locks/run" ] || echo "in use by $(holder "$STATE/locks/run")"
}

local_kubeconfig() { echo "$KUBECONFIG_FILE"; }

stop_apiserver() {
	part_runs kube-apiserver || die "the API server does not run"
	# As when it crashes. One that is asked to end takes itself out of the Service
	# `kubernetes` first, and kube-proxy may need a minute to hear that it is back.
	stop_part kube-apiserver KILL 3
	say "the API server is stopped"
}

start_apiserver() {
	use_tools
	[ -f "$STATE/settings" ] || die "there is no cluster; 'cluster up' makes one"
	start_kube_apiserver
	await_part 90 kube-apiserver api_ready
	say "the API server is ready"
}
