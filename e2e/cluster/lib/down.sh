# shellcheck shell=bash
# Taking the cluster away, however it ended. Nothing here needs the cluster to
# work, or the notes about it to be true: what is ours is found by where it
# lives. The whole state is thrown away, so nothing is asked to end gently.

# Programs that may be ours, if their command line names the state directory.
OUR_PROGRAMS=' etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy containerd containerd-shim containerd-shim-runc-v2 ctr runc '

local_down() {
	local started=$SECONDS foreign found
	PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
	if [ "$(id -u)" != 0 ]; then
		[ -e "$STATE/settings" ] || return 0
		die "CLUSTER=local needs root"
	fi
	foreign=$(foreign_kubernetes)
	found=
	[ ! -e "$STATE/settings" ] || found=yes
	[ -z "$(our_processes)" ] || found=yes

	kill_ours
	[ -n "$foreign" ] || kill_pods
	unmount_below "$STATE"
	remove_shim_sockets
	if [ -z "$foreign" ]; then
		# Rules, cgroups and the bridge carry no name of ours: without another
		# Kubernetes on the machine there is nobody else they could belong to.
		[ -z "$found" ] || remove_network
		remove_pod_cgroups
	else
		[ -z "$found" ] || say "another Kubernetes runs on this machine: its iptables rules and cgroups are left alone"
	fi
	restore_sysctls
	remove_files
	[ -z "$found" ] || say "the cluster is down ($((SECONDS - started))s)"
}

# our_processes prints the process ids of all parts and shims whose command line
# names the state directory.
our_processes() {
	local dir pid exe
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		exe=$(readlink "$dir/exe" 2>/dev/null) || continue
		exe=${exe% (deleted)}
		case $OUR_PROGRAMS in
		*" ${exe##*/} "*) ;;
		*) continue ;;
		esac
		if { tr '\0' '\n' <"$dir/cmdline"; } 2>/dev/null | grep -qF -e "$STATE/"; then
			[ -z "$(start_time "$pid")" ] || echo "$pid"
		fi
	done
}

# foreign_kubernetes prints the process ids of kubelets and proxies that are not
# ours: k3s, microk8s and the like on the same machine. Those inside a
# container, such as kind's, have network and cgroups of their own.
foreign_kubernetes() {
	local dir pid exe here
	here=$(readlink /proc/self/ns/net)
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		exe=$(readlink "$dir/exe" 2>/dev/null) || continue
		case ${exe##*/} in
		kubelet | kube-proxy | k3s | k0s | kubelite) ;;
		*) continue ;;
		esac
		[ "$(readlink "$dir/ns/net" 2>/dev/null)" = "$here" ] || continue
		[ -n "$(start_time "$pid")" ] || continue
		{ tr '\0' '\n' <"$dir/cmdline"; } 2>/dev/null | grep -qF -e "$STATE/" || echo "$pid"
	done
}

kill_ours() {
	local pids children rounds
	for rounds in 1 2 3 4 5 6 7 8 9 10; do
		pids=$(our_processes)
		[ -n "$pids" ] || return 0
		# The shims first and with all that runs below them: once a shim is gone,
		# its containers are nobody's children.
		children=$(descendants "$pids")
		# shellcheck disable=SC2086
		kill -KILL $pids $children 2>/dev/null || true
		sleep "0.$rounds"
	done
	die "these processes do not end: $pids"
}

# descendants PIDS prints all processes below the given ones that are shims' or
# containers'. This shell is not among them, nor what started it.
descendants() {
	ps -e -o pid= -o ppid= | awk -v roots="$1" '
		BEGIN { n = split(roots, list); for (i = 1; i <= n; i++) below[list[i]] = 1 }
		{ parent[$1] = $2 }
		END {
			do {
				grew = 0
				for (pid in parent)
					if (!(pid in below) && (parent[pid] in below)) { below[pid] = 1; print pid; grew = 1 }
			} while (grew)
		}'
}

pod_cgroups() {
	local root
	for root in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
		[ ! -d "$root" ] || find "$root" -depth -type d
	done
}

kill_pods() {
	local pids rounds
	for rounds in 1 2 3 4 5; do
		pids=$(pod_cgroups | while read -r dir; do cat "$dir/cgroup.procs" 2>/dev/null || true; done | sort -u)
		[ -n "$pids" ] || return 0
		# shellcheck disable=SC2086
		kill -KILL $pids 2>/dev/null || true
		sleep "0.$rounds"
	done
}

remove_pod_cgroups() {
	local left tries
	for tries in 1 2 3 4 5 6 7 8 9 10; do
		left=$(pod_cgroups)
		[ -n "$left" ] || return 0
		while read -r dir; do rmdir "$dir" 2>/dev/null || true; done <<<"$left"
		[ "$tries" = 1 ] || sleep 0.2
	done
	[ -z "$(pod_cgroups)" ] || say "cgroups that cannot be removed: $(pod_cgroups | tr '\n' ' ')"
}

# unmount_below DIR unmounts everything below a directory, the last mounted
# first: root file systems, the tmpfs of Secrets, network namespaces.
unmount_below() {
	local point tries
	for tries in 1 2 3; do
		while read -r point; do
			point=$(printf '%b' "$point")
			umount "$point" 2>/dev/null || umount -l "$point" 2>/dev/null || true
		done < <(mounts_below "$1")
		[ -n "$(mounts_below "$1")" ] || return 0
		sleep 0.2
	done
	[ "$tries" = 0 ] || die "these mounts stay: $(mounts_below "$1" | tr '\n' ' ')"
}

mounts_below() {
	awk -v dir="$(readlink -m "$1")/" 'index($5 "/", dir) == 1 && $5 "/" != dir { print $5 }' /proc/self/mountinfo | tac
}

# Shims listen on sockets outside of containerd's state, and leave them there when
# they are killed. One that nobody listens on is of no use to anybody.
remove_shim_sockets() {
	local socket listening
	[ -d /run/containerd/s ] || return 0
	listening=$(ss -Hxl | awk '{ print $5 }')
	for socket in /run/containerd/s/*; do
		if [ -S "$socket" ] && ! grep -qxF "$socket" <<<"$listening"; then rm -f "$socket"; fi
	done
	rmdir /run/containerd/s /run/containerd 2>/dev/null || true
}

remove_network() {
	local link
	accept_dead_services
	if ip link show "$BRIDGE" >/dev/null 2>&1; then
		for link in $(ip -o link show master "$BRIDGE" type veth | sed -E 's/^[0-9]+: ([^@:]+).*/\1/'); do
			ip link delete "$link" 2>/dev/null || true
		done
		ip link delete "$BRIDGE" 2>/dev/null || true
	fi
	remove_rules iptables
	remove_rules ip6tables
	conntrack -D -s "$POD_CIDR" >/dev/null 2>&1 || true
	conntrack -D -d "$SERVICE_CIDR" >/dev/null 2>&1 || true
}

# remove_rules IPTABLES takes out, in one transaction, the chains that Kubernetes
# and the CNI plugins make and every rule that jumps to one.
remove_rules() {
	local script
	command -v "$1-save" >/dev/null || return 0
	script=$("$1-save" 2>/dev/null | awk '
		function ours(name) { return name ~ /^(KUBE-|CNI-)/ }
		/^\*/ { table = $0; flush = ""; drop = ""; rules = ""; next }
		/^:/ {
			name = substr($1, 2)
			if (ours(name)) { flush = flush "-F " name "\n"; drop = drop "-X " name "\n" }
			next
		}
		/^-A/ {
			if (ours($2)) next
			for (i = 3; i < NF; i++)
				if (($i == "-j" || $i == "-g") && ours($(i + 1))) {
					rule = $0
					sub(/^-A/, "-D", rule)
					rules = rules rule "\n"
				}
		}
		/^COMMIT/ { if (flush rules != "") printf "%s\n%s%s%sCOMMIT\n", table, rules, flush, drop }')
	[ -z "$script" ] || "$1-restore" --noflush <<<"$script" ||
		say "some rules of $1 could not be removed"
}

# The state directory but its locks, and what kubelet, containerd and the CNI
# library keep elsewhere and cannot be told to keep here.
remove_files() {
	local file
	if [ -e "/var/log/pods/$POD_LOGS_MARK" ] && [ -z "$(foreign_kubernetes)" ]; then
		rm -rf --one-file-system /var/log/pods
		find /var/log/containers -xtype l -delete 2>/dev/null || true
	fi
	# Positions of log agents, by namespace and stack.
	[ -n "$(foreign_kubernetes)" ] || rm -rf --one-file-system /var/lib/evenkeel
	for file in /var/lib/cni/results/*; do
		if grep -qsF "$STATE/" "$file"; then rm -f "$file"; fi
	done
	[ -n "$(foreign_kubernetes)" ] || rm -f /var/lib/kubelet/device-plugins/kubelet.sock
	rmdir /var/log/containers /var/lib/cni/results /var/lib/cni \
		/var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
	[ -d "$STATE" ] || return 0
	[ -z "$(mounts_below "$STATE")" ] || die "mounts are left below $STATE"
	find "$STATE" -mindepth 1 -maxdepth 1 ! -name locks -exec rm -rf --one-file-system {} +
}
